"""The manifests' pods really run, by ``podman kube play``: from empty volumes to a drained sweep."""

from __future__ import annotations

import base64
import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from nnexp.search import sweep_file
from tests.helpers.kubernetes import Object, named
from tests.helpers.podman import Podman, wait_for

pytest_plugins = ["tests.helpers.images"]
pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.long]

# Asked inside the tracking server's pod, since nothing of it is published.
COUNT = """if True:
    import collections, mlflow
    client = mlflow.MlflowClient("http://127.0.0.1:5000")
    found = client.get_experiment_by_name("xnor-batch")
    runs = client.search_runs([found.experiment_id]) if found else []
    trials = [run for run in runs if "nnexp.trial" in run.data.tags]
    print(len({run.data.tags["nnexp.trial"] for run in trials}), collections.Counter(r.info.status for r in trials))
"""


@dataclass
class Cluster:
    """Pods on a network of their own, where a pod's name is its address."""

    podman: Podman
    objects: list[Object]
    directory: Path
    name: str

    def files(self, kind: str, name: str) -> Path:
        """A directory with the files of a ConfigMap or Secret, as the kubelet would mount it."""
        found = named(self.objects, kind, name)
        directory = self.directory / f"{kind}-{name}"
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        for key, value in found["data"].items():
            text = base64.b64decode(value).decode() if kind == "Secret" else value
            (directory / key).write_text(text)
            (directory / key).chmod(0o644)
        return directory

    def pod(self, name: str, template: Object) -> Object:
        """A workload's template as a Pod that podman 4.3 can play.

        It has no fsGroup, so volumes take their owner from the image; no claims; no probes without systemd.
        """
        spec = copy.deepcopy(template["spec"])
        spec["restartPolicy"] = "Never"  # podman would start ended init containers again and again, too
        for volume in spec["volumes"]:
            for key, kind, field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
                if key in volume:
                    path = self.files(kind, volume.pop(key)[field])
                    volume["hostPath"] = {"path": str(path), "type": "Directory"}
            if volume.pop("persistentVolumeClaim", None):
                volume["emptyDir"] = {}
            if "emptyDir" in volume:
                volume["emptyDir"] = {}
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        claimed = mounted - {volume["name"] for volume in spec["volumes"]}
        spec["volumes"] += [{"name": name, "emptyDir": {}} for name in claimed]
        for container in spec.get("initContainers", []) + spec["containers"]:
            for key in ("livenessProbe", "readinessProbe", "startupProbe"):
                container.pop(key, None)
            prefix = "localhost/" if container["image"].startswith("nnexp") else "docker.io/library/"
            container["image"] = prefix + container["image"]
            container["imagePullPolicy"] = "Never"
        # Else podman removes each init container at its end, and fails where that end comes a moment too late.
        annotations = {"io.podman.annotations.init.container.type": "always"}
        metadata = {"name": name, "labels": template["metadata"]["labels"], "annotations": annotations}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def play(self, name: str, template: Object, **environment: str) -> None:
        """Start a pod."""
        pod = self.pod(name, template)
        for container in pod["spec"]["containers"]:
            container["env"] = container.get("env", []) + [{"name": k, "value": v} for k, v in environment.items()]
        file = self.directory / f"{name}.yaml"
        file.write_text(yaml.safe_dump(pod))
        self.podman.run("kube", "play", "--network", self.name, file)

    def job(self, name: str) -> list[str]:
        """Start a Job's pods, one an index, and give their main containers' names."""
        spec = named(self.objects, "Job", name)["spec"]
        names = [f"{name}-{index}" for index in range(spec.get("completions", 1))]
        for index, pod in enumerate(names):
            self.play(pod, spec["template"], JOB_COMPLETION_INDEX=str(index))
        return [f"{pod}-{spec['template']['spec']['containers'][0]['name']}" for pod in names]

    def probe(self, container: str, kind: str, name: str) -> bool:
        """Whether the workload's own readiness probe passes in its container."""
        probe = named(self.objects, kind, name)["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
        command = probe["exec"]["command"] if "exec" in probe else None
        if command is None:
            address = f"http://127.0.0.1:5000{probe['httpGet']['path']}"
            command = ["python", "-c", f"from urllib.request import urlopen; urlopen('{address}', timeout=5)"]
        return self.podman.run("exec", container, *command, check=False).returncode == 0

    def status(self, container: str) -> tuple[str, int]:
        """A container's state and exit status."""
        state = self.podman.inspect("container", container)["State"]
        return state["Status"], state["ExitCode"]


@pytest.fixture
def cluster(
    podman: Podman, image: str, postgres_image: str, objects: list[Object], tmp_path: Path
) -> Iterator[Cluster]:
    """No pod yet; whatever is started is removed at the end."""
    found = Cluster(podman, copy.deepcopy(objects), tmp_path, f"nnexp-pods-{os.getpid()}")
    tmp_path.chmod(0o755)
    podman.run("network", "create", found.name)
    try:
        yield found
    finally:
        for file in tmp_path.glob("*.yaml"):
            podman.run("kube", "down", file, check=False)
        podman.run("network", "rm", "--force", found.name, check=False)


def small(text: str) -> str:
    """The ConfigMap's sweep, so small that it takes seconds."""
    sweep: Any = sweep_file.parse(text, "sweep.toml", ["trials=12", "seeds=32", "epochs=200", "batch=2"])
    return str(sweep.text)


def test_pods_drain_a_sweep(cluster: Cluster, podman: Podman) -> None:
    """The stores come up, two of the workers' indices do the sweep of the ConfigMap, and each ends with status 0."""
    sweep = named(cluster.objects, "ConfigMap", "sweep")["data"]
    sweep["sweep.toml"] = small(sweep["sweep.toml"])
    named(cluster.objects, "Job", "worker")["spec"]["completions"] = 2

    cluster.play("postgres", named(cluster.objects, "StatefulSet", "postgres")["spec"]["template"])
    wait_for(lambda: cluster.probe("postgres-postgres", "StatefulSet", "postgres"), "PostgreSQL's probe")
    [schema] = cluster.job("schema")
    wait_for(lambda: cluster.status(schema)[0] == "exited", "the schema job's end")
    assert cluster.status(schema) == ("exited", 0), podman.logs(schema)
    cluster.play("mlflow", named(cluster.objects, "Deployment", "mlflow")["spec"]["template"])
    wait_for(lambda: cluster.probe("mlflow-mlflow", "Deployment", "mlflow"), "the tracking server's probe", 400)

    workers = cluster.job("worker")
    wait_for(lambda: all(cluster.status(worker)[0] == "exited" for worker in workers), "the workers' end", 400)
    for worker in workers:
        assert podman.inspect("container", worker)["HostConfig"]["ReadonlyRootfs"] is True
        assert cluster.status(worker) == ("exited", 0), podman.logs(worker) + podman.logs("mlflow-mlflow")
    counted = podman.output("exec", "mlflow-mlflow", "python", "-c", COUNT)
    assert "died" not in podman.logs("mlflow-mlflow"), "a busy process of the tracking server was killed"
    assert counted.splitlines()[-1] == "12 Counter({'FINISHED': 12})"
