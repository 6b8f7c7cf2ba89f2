"""Podman for tests: runs containers, pods and networks for real (``images`` has the fixtures)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim"
NNEXP = "localhost/nnexp:0.2.0"
POSTGRES = "docker.io/library/postgres:17"


@dataclass(frozen=True)
class Podman:
    """The program, with an environment of its own."""

    environment: dict[str, str]

    def run(
        self, *arguments: object, check: bool = True, timeout: float = 300, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """``podman ARGUMENTS``; its output is text, and a failure shows it."""
        command = [str(argument) for argument in ("podman", *arguments)]
        done = subprocess.run(
            command, env=self.environment, timeout=timeout, capture_output="stdin" not in more, text=True, **more
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def output(self, *arguments: object) -> str:
        """What ``podman ARGUMENTS`` prints."""
        return self.run(*arguments).stdout.strip()

    def logs(self, container: str) -> str:
        """What a container has printed, on both streams."""
        done = self.run("logs", container, check=False)
        return done.stdout + done.stderr

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """What podman knows of an image or a container."""
        found: dict[str, Any] = json.loads(self.output(kind, "inspect", name))[0]
        return found

    def has_image(self, name: str) -> bool:
        """Whether the image is there."""
        return self.run("image", "exists", name, check=False).returncode == 0

    @contextlib.contextmanager
    def container(self, image: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[str]:
        """A container that is started now and removed at the end; yields its id."""
        identity = self.output("run", "--detach", "--pull=never", "--no-healthcheck", *options, image, *command)
        try:
            yield identity
        finally:
            self.run("rm", "--force", "--volumes", "--time=2", identity, check=False)


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 90, *, pause: float = 0.5) -> None:
    """Return as soon as ``condition()`` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(pause)
