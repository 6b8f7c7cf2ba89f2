"""The Kubernetes manifests: their schemas, what they promise, and their pods really run."""

from __future__ import annotations

import pytest
import yaml

from tests.helpers.kubernetes import Object, containers, named, pods
from tests.helpers.podman import ROOT

pytest_plugins = ["tests.helpers.images"]


def test_manifests_fit_the_schemas(objects: list[Object]) -> None:
    """Every object is valid for Kubernetes, and holds no key that its schema does not know."""
    validate = pytest.importorskip("kubernetes_validate")
    assert objects
    for found in objects:  # raises where one does not fit
        validate.validate(found, validate.latest_version(), strict=True)


def test_manifests_run_without_privileges(objects: list[Object]) -> None:
    """The restricted pod security standard, and a read-only root filesystem beside it."""
    for name, pod in pods(objects):
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
    for name, container in containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_manifests_ask_for_what_they_need(objects: list[Object]) -> None:
    """Each container says its share of a core and its memory, and has no share that throttles it."""
    for name, container in containers(objects):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert container["resources"]["limits"].keys() == {"memory"}, name


def test_names_in_the_manifests_match(objects: list[Object]) -> None:
    """Every volume, ConfigMap, Secret and claim that a pod names is there."""
    there = {(found["kind"], found["metadata"]["name"]) for found in objects}
    claims = {"data"}  # the StatefulSet's own template
    for name, pod in pods(objects):
        volumes = {volume["name"] for volume in pod["volumes"]}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, name
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in there, name
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name
        for container in pod.get("initContainers", []) + pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes | claims, name


def test_manifests_hold_no_password(objects: list[Object]) -> None:
    """No command, argument or environment holds a password: they are in the Secrets' files alone."""
    for name, container in containers(objects):
        words = [*container.get("command", []), *container.get("args", [])]
        words += [entry["value"] for entry in container.get("env", [])]
        for word in words:
            assert "@" not in word.partition("://")[2], (name, word)
            assert "password=" not in word, (name, word)


def test_worker_job_tolerates_disruption(objects: list[Object]) -> None:
    """An indexed Job whose pods may be evicted freely, retried each on its own, and which a wrong file ends at once."""
    job = named(objects, "Job", "worker")["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["backoffLimitPerIndex"] > 0
    rules = job["podFailurePolicy"]["rules"]
    assert {"type": "DisruptionTarget", "status": "True"} in rules[0]["onPodConditions"]
    assert {rule["onExitCodes"]["values"][0]: rule["action"] for rule in rules[1:]} == {143: "Ignore", 2: "FailJob"}
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] >= 30


def test_sweep_file_in_the_config_map_is_valid(objects: list[Object]) -> None:
    """The ConfigMap's sweep file is one that nnexp takes."""
    config = pytest.importorskip("nnexp.search.sweep_file")
    text = named(objects, "ConfigMap", "sweep")["data"]["sweep.toml"]
    assert config.parse(text, "sweep.toml").name == "xnor-batch"


def test_manifests_and_compose_agree(objects: list[Object]) -> None:
    """Both run the same images, and the same MLflow server but for the names it answers to."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {container["image"] for _, container in containers(objects)} == {"nnexp:0.2.0", "postgres:17"}
    assert services["postgres"]["image"] == "postgres:17"
    server = named(objects, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]

    def options(words: list[str]) -> set[str]:
        return {word for word in words if not word.startswith("--allowed-hosts")}

    assert options(server["args"]) == options(services["mlflow"]["command"])
