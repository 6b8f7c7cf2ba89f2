"""The Kubernetes manifests as objects (``images`` has the fixtures)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]


def built(directory: Path) -> list[Object]:
    """The objects that ``kubectl apply --kustomize DIRECTORY`` would send."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on this machine")
    done = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Each workload's name and pod specification."""
    for found in objects:
        if "template" in found.get("spec", {}):
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Each container, and its pod's name."""
    for name, pod in pods(objects):
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield name, container


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The object of that kind and name."""
    return next(found for found in objects if (found["kind"], found["metadata"]["name"]) == (kind, name))
