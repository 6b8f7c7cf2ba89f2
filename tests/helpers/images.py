"""Images and manifests for tests, as fixtures: a plugin of the modules that name it in ``pytest_plugins``.

No image is pulled. Where it is not there yet, the base ``python:3.11-slim`` is made from the machine's own Debian
packages, and so is a stand-in for the ``postgres`` image. Every test that needs podman skips where that cannot be.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.kubernetes import Object, built
from tests.helpers.podman import BASE, NNEXP, POSTGRES, ROOT, Podman

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# For root without systemd: crun and the default limits fail there.
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One test process at a time makes images."""
    with Path("/tmp/nnexp-test-images.lock").open("w") as lock:  # noqa: S108 - shared on purpose
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """Podman, where it can run and the base image is there or can be made."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not on this machine; .ci/install-system installs it")
    directory = tmp_path_factory.mktemp("podman")
    environment = dict(os.environ)
    if os.geteuid() == 0 and not Path("/run/systemd/system").exists():
        (directory / "containers.conf").write_text(CONFIGURATION)
        environment["CONTAINERS_CONF"] = str(directory / "containers.conf")
    found = Podman(environment)
    if found.run("info", check=False).returncode:
        pytest.skip("podman is on this machine, but does not run")
    if not found.has_image(BASE):
        if os.geteuid() or shutil.which("mmdebstrap") is None:
            pytest.skip(f"{BASE} is not on this machine, and to make it needs root and mmdebstrap")
        with _alone():
            _make_base(found, directory)
    return found


def _make_base(podman: Podman, directory: Path) -> None:
    """A Debian with Python, under the name that the Dockerfile starts from."""
    archive = directory / "base.tar"
    python = 'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; ln -sf python3 "$1/usr/bin/python"'
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates,passwd,python3-venv"]
    command += [f"--customize-hook={python}", "bookworm", str(archive)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if made.returncode:
        pytest.skip(f"mmdebstrap could not make {BASE}: {made.stderr[-300:]}")
    podman.run(
        "import", "--change", "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", archive, BASE
    )
    archive.unlink()


def _build(podman: Podman, *arguments: object) -> None:
    secret = ("--secret", f"id=ca_bundle,src={CERTIFICATES}") if CERTIFICATES.exists() else ()
    with _alone():
        podman.run("build", "--pull=never", "--layers", "--format=docker", *secret, *arguments, timeout=540)


@pytest.fixture(scope="session")
def image(podman: Podman) -> str:
    """The image of nnexp, built from this checkout."""
    _build(podman, "--tag", NNEXP, "--build-arg", "REVISION=abc123", ROOT)
    return NNEXP


@pytest.fixture(scope="session")
def postgres_image(podman: Podman) -> str:
    """The ``postgres`` image, or a stand-in that keeps those of its promises that the stores rely on."""
    if not podman.has_image(POSTGRES):
        _build(podman, "--tag", POSTGRES, ROOT / "tests/deploy/postgres_image")
    return POSTGRES


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Every object of the Kubernetes manifests, the stores' and the sweep's, with new secrets."""
    copy = tmp_path_factory.mktemp("manifests") / "kubernetes"
    shutil.copytree(ROOT / "experiments/batch/kubernetes", copy)
    make = ROOT / "experiments/batch/make-secrets.sh"
    subprocess.run(["sh", make, copy / "stores/secrets"], check=True, capture_output=True)
    return built(copy / "stores") + built(copy / "sweep")
