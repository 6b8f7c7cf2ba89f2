"""Registered networks: stored without a pickle, served without nnexp; the alias moves only to a better one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from nnexp.errors import NotFoundError, StoreError
from nnexp.recovery.intervals import wilson
from nnexp.stores import Stores
from nnexp.tracking import registry
from nnexp.tracking.load_model import load_network
from nnexp.tracking.registry import Candidate, model_name, register
from nnexp.tracking.store import Tracking
from tests.helpers.sampling import sample

SIGMOID = {"W1": [[20, 20], [-20, -20]], "b1": [-30, 10], "W2": [20, 20], "b2": -10}
TANH = {"W1": [[10, 10], [-10, -10]], "b1": [-15, 5], "W2": [10, 10], "b2": 10}
BIPOLAR = {"W1": [[10, 10], [-10, -10]], "b1": [-10, -10], "W2": [20, 20], "b2": -10}
ROWS = [[0, 0], [0, 1], [1, 0], [1, 1]]


def candidate(successes: int = 600, run_id: str = "r1", task: str = "xnor", **settings: str) -> Candidate:
    """A hand-designed network whose re-test had ``successes`` of 1000 networks."""
    weights = {"tanh": TANH, "sigmoid": BIPOLAR if settings.get("encoding") == "bipolar" else SIGMOID}
    settings = {"activation": "tanh", "encoding": "binary", "hidden_size": "2"} | settings
    network = {"index": 3, "weights": weights[settings["activation"]], "settings": settings}
    return Candidate(task, 12, run_id, network, successes, 1000)


def in_another_process(uri: str, code: str, **environment: str) -> str:
    """What code prints in a process that cannot import nnexp."""
    keep = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment = keep | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"} | environment
    blocked = "import sys; sys.modules['nnexp'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + code],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "predict" not in done.stderr  # none of MLflow's warnings is about this model
    return done.stdout.strip()


def test_champion_answers_the_truth_table_without_nnexp(tracking: Tracking) -> None:
    """In another process, by its alias, from rows, arrays and tables, and with pickles forbidden."""
    sweep = tracking.ensure_sweep("champions of xnor", text="", note="")
    registered = register(tracking, sweep, candidate(task="xnor"))
    assert (registered.model, registered.version, registered.moved) == ("xnor", "1", True)
    code = (
        "import mlflow, numpy as np, pandas as pd\n"
        f"model, rows = mlflow.pyfunc.load_model('models:/xnor@champion'), {ROWS}\n"
        "for x in rows, np.array(rows), np.array(rows, float), pd.DataFrame(rows, columns=['x1', 'x2']):\n"
        "    print(*np.round(model.predict(x)).astype(int))\n"
    )
    assert in_another_process(tracking.uri, code).splitlines() == ["1 0 0 1"] * 4


def test_model_is_logged_with_signature_example_and_metrics(tracking: Tracking) -> None:
    """It is an output of the parent run, contains no pickle, and shows the metrics of its re-test."""
    sweep = tracking.ensure_sweep("champions of xor", text="", note="")
    register(tracking, sweep, candidate(task="xor"))
    version = tracking.client.get_model_version_by_alias("xor", "champion")
    assert version.run_id == sweep.run_id
    low, high = (repr(float(end)) for end in wilson(600, 1000))
    assert {key: value for key, value in version.tags.items() if key.startswith("nnexp.")} == {
        "nnexp.sweep": sweep.name,
        "nnexp.trial": "12",
        "nnexp.run_id": "r1",
        "nnexp.network": "3",
        "nnexp.retest_rate": "0.6",
        "nnexp.retest_low": low,
        "nnexp.retest_high": high,
        "nnexp.retest_networks": "1000",
    }
    (output,) = tracking.client.get_run(sweep.run_id).outputs.model_outputs
    model = tracking.client.get_logged_model(output.model_id)
    assert model.status == "READY"
    assert {metric.key: metric.value for metric in model.metrics}["retest_rate"] == 0.6
    names = {item.path for item in tracking.client.list_logged_model_artifacts(model.model_id)}
    assert {"MLmodel", "pyfunc_model.py", "input_example.json", "artifacts"} <= names
    assert not [name for name in names if name.endswith(("pkl", "pickle"))]


def test_same_candidate_again_creates_nothing(tracking: Tracking) -> None:
    """A sweep that is finished twice has one version."""
    sweep = tracking.ensure_sweep("champions of and", text="", note="")
    register(tracking, sweep, candidate(task="and"))
    again = register(tracking, sweep, candidate(task="and"))
    assert (again.version, again.champion, again.moved) == ("1", "1", False)
    assert "is still version 1" in again.line


def interrupted(client: MlflowClient, call: str, patch: pytest.MonkeyPatch, *, carried_out: bool) -> None:
    """Let the next call of a client's method fail: before it is carried out, or by the loss of its answer."""
    method = getattr(client, call)

    def fail(*args: Any, **kwargs: Any) -> None:
        patch.setattr(client, call, method)
        if carried_out:
            method(*args, **kwargs)
        raise OSError("cut")

    patch.setattr(client, call, fail)


REGISTRATION = (
    "create_registered_model",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_model_version",
    "log_outputs",
    "log_batch",
    "set_registered_model_alias",
)
TASKS = [
    "majority:3",
    "majority:5",
    "majority:7",
    "majority:9",
    "symmetry:7",
    "symmetry:8",
    "symmetry:9",
    "symmetry:10",
]


@pytest.mark.parametrize("call", REGISTRATION)
def test_interrupted_registration_is_completed(tracking: Tracking, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """After an interruption at any call one logged model and one version are left, with one point per metric."""
    task = TASKS[REGISTRATION.index(call)]  # one of its own: the stores are shared with other tests
    sweep = tracking.ensure_sweep(f"interrupted at {call}", text="", note="")
    for carried_out in (False, True):
        interrupted(tracking.client, call, monkeypatch, carried_out=carried_out)
        with pytest.raises(StoreError, match="cut"):
            register(tracking, sweep, candidate(task=task))
        if call == "create_registered_model":
            break  # it exists now
    register(tracking, sweep, candidate(task=task))
    (model,) = tracking.client.search_logged_models([sweep.experiment_id])
    (version,) = tracking.client.search_model_versions(f"name = '{model_name(task)}'")
    (output,) = tracking.client.get_run(sweep.run_id).outputs.model_outputs
    assert (model.status, version.source, output.model_id) == ("READY", model.artifact_location, model.model_id)
    assert len(tracking.client.get_metric_history(sweep.run_id, "retest_rate")) == 1
    assert tracking.client.get_model_version_by_alias(model_name(task), "champion").version == version.version


def test_second_and_pending_models_of_an_earlier_version_are_removed(tracking: Tracking) -> None:
    """Models as 0.1.0 left them after a kill: only the one that the version refers to is kept, its tags unchanged."""
    sweep = tracking.ensure_sweep("champions of symmetry:5", text="", note="")
    tags = {"nnexp.sweep": sweep.name, "nnexp.trial": "12"}
    for status in ("READY", "PENDING"):
        left = tracking.client.create_logged_model(
            sweep.experiment_id, name="symmetry-5", source_run_id=sweep.run_id, tags=tags
        )
        if status == "READY":
            tracking.client.finalize_logged_model(left.model_id, status)
    theirs = tracking.client.create_logged_model(sweep.experiment_id, name="theirs", source_run_id=sweep.run_id)
    register(tracking, sweep, candidate(task="symmetry:5"))
    found = tracking.client.search_logged_models([sweep.experiment_id])
    assert {model.status for model in found if model.model_id != theirs.model_id} == {"READY"}
    assert len(found) == 2


def test_alias_moves_only_to_a_higher_lower_end(tracking: Tracking) -> None:
    """A worse network is registered and the alias stays; a better one gets the alias."""
    sweep = tracking.ensure_sweep("champions of or", text="", note="")
    register(tracking, sweep, candidate(600, task="or"))
    worse = register(tracking, sweep, candidate(590, run_id="r2", task="or"))
    assert (worse.version, worse.champion, worse.moved) == ("2", "1", False)
    assert "stays at version 1" in worse.line
    better = register(tracking, sweep, candidate(640, run_id="r3", task="or"))
    assert (better.version, better.champion, better.moved) == ("3", "3", True)
    assert "or@champion is version 3" in better.line


def test_networks_are_read_from_model_and_run(tracking: Tracking, tmp_path: Path) -> None:
    """`predict` reads weights, activation and encoding; a model that does not exist is named."""
    stores = Stores(tracking.uri)
    with pytest.raises(NotFoundError, match="no model models:/nor@champion"):
        load_network("models:/nor@champion", stores)
    sweep = tracking.ensure_sweep("champions of nor", text="", note="")
    register(tracking, sweep, candidate(task="nor"))
    network = load_network("models:/nor@champion", stores)
    assert network.W1.tolist() == [TANH["W1"]]
    assert (network.activation, network.encoding) == ("tanh", "binary")
    run = tracking.client.create_run(sweep.experiment_id, tags={"nnexp.sweep": "champions of nor", "nnexp.trial": "0"})
    network = candidate(task="nor").network
    stored = {"schema_version": 1, **network, "settings": {**network["settings"], "task": "nor"}}
    tracking.log_text(run.info.run_id, json.dumps(stored), "best_network.json")
    version = load_network("models:/nor/1", stores)
    assert version.b2.tolist() == [TANH["b2"]]
    for source in run.info.run_id, "champions of nor#0", f"runs:/{run.info.run_id}":
        assert load_network(source, stores).b1.tolist() == [TANH["b1"]]


FORMS = [{}, {"activation": "sigmoid"}, {"activation": "sigmoid", "encoding": "bipolar"}]


@pytest.mark.parametrize("settings", sample(FORMS, 1, "predicting models"))
def test_command_line_predicts(tmp_path: Path, settings: dict[str, str]) -> None:
    """`mlflow models predict` accepts CSV and JSON, for every activation and encoding."""
    registry.save_model(tmp_path / "model", candidate(**settings).network, "xnor")
    (tmp_path / "in.csv").write_text("x1,x2\n" + "".join(f"{a},{b}\n" for a, b in ROWS))
    (tmp_path / "in.json").write_text(json.dumps({"inputs": ROWS}))
    for kind in ("csv", "json")[: 2 if not settings else 1]:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "predict",
            "-m",
            tmp_path / "model",
            "--env-manager",
            "local",
        ]
        more = ["-t", kind, "-i", tmp_path / f"in.{kind}"]
        done = subprocess.run([*command, *more], capture_output=True, text=True, cwd=tmp_path)
        answers = json.loads(done.stdout.strip().splitlines()[-1])["predictions"]
        assert [round(answer) for answer in answers] == [1, 0, 0, 1]


def test_model_names_are_valid_in_the_registry() -> None:
    """The name of a model may contain neither a colon nor a table."""
    assert model_name("xnor") == "xnor"
    assert model_name("parity:3") == "parity-3"
    assert model_name('{"inputs":[[0],[1]],"targets":[0,1]}').startswith("task-")
