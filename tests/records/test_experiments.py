"""Every experiment of experiments/ at small size, and the symmetries that their conclusions lean on."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import nnexp
from nnexp import Settings
from nnexp.network import initializers
from nnexp.recovery import grades as recovery
from nnexp.search import sweep_file
from tests.helpers.sampling import sample

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
sys.path.insert(0, str(EXPERIMENTS))

import conclusions  # noqa: E402
import record  # noqa: E402

SMALL = {
    "grid": ["space.hidden_size=[2, 3]", "space.learning_rate=[0.5, 2.0]", 'space.init=["glorot_uniform"]'],
    "xor": ["space.hidden_size=[2, 4]", 'space.init=["normal"]'],
    "encoding": ["space.hidden_size=[2]", 'space.init=["glorot_uniform", "orthogonal"]'],
    "parity3": ["space.hidden_size=[3, 6]", 'space.init=["normal"]'],
    "small": ["space.hidden_size=[2, 4]", 'space.init=["orthogonal"]'],
    "stopping": ["space.learning_rate=[0.5]"],
}


def rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few fresh networks, and stop rules at small caps."""
    monkeypatch.setattr(record, "FRESH", 64)
    monkeypatch.setitem(record.VARIANTS, "small", [{"epochs": epochs} for epochs in (50, 100)])
    monkeypatch.setitem(record.VARIANTS, "stopping", [{"stop": stop, "epochs": 200} for stop in ("none", "solved")])


@pytest.mark.parametrize("name", record.VARIANTS)
@pytest.mark.usefixtures("quick")
def test_each_experiment_runs_and_its_table_is_the_same_again(name: str) -> None:
    """At small size: every cell is there with its counts, and a second run gives the same bytes."""
    small = [*SMALL[name], "seeds=32", "epochs=100", "trials=0"]
    small[-1] = f"trials={sweep_file.load(EXPERIMENTS / f'{name}.toml', SMALL[name] + ['sampler=random']).grid_size}"
    tables = record.record(name, small, out=io.StringIO())
    assert tables == record.record(name, small, out=io.StringIO())
    table = rows(tables[f"{name}.csv"])
    sweep = sweep_file.load(EXPERIMENTS / f"{name}.toml", small)
    assert len(table) == sweep.trials * len(record.VARIANTS[name])
    for line in table:
        assert line["networks"] == "32"
        assert int(line["recovered"]) <= int(line["contains"]) <= int(line["solved"]) <= int(line["correct"])


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_sweep_file_is_valid(path: Path) -> None:
    """Each sweep file loads, and its sweep has the file's name."""
    assert sweep_file.load(path).name == path.stem


def test_every_grid_has_a_recorded_table() -> None:
    """A new grid needs a recorded table; sweeps whose sampler or race decides what is trained have none."""
    sweeps = [sweep_file.load(path) for path in EXPERIMENTS.glob("*.toml")]
    assert {sweep.name for sweep in sweeps if sweep.sampler == "grid" and sweep.pruner == "none"} == set(
        record.VARIANTS
    )


@pytest.mark.parametrize("name", record.VARIANTS)
def test_the_recorded_table_belongs_to_the_file(name: str) -> None:
    """Every cell of the sweep file is in its recorded table, with as many networks as the file asks for."""
    sweep = sweep_file.load(EXPERIMENTS / f"{name}.toml")
    table = rows((EXPERIMENTS / "results" / f"{name}.csv").read_text(encoding="utf-8"))
    found = [{key: line[key] for key in sweep.searched} for line in table]
    wanted = [{key: str(value) for key, value in point.items()} for point in record.cells(sweep)]
    assert found == wanted * len(record.VARIANTS[name])
    assert {line["networks"] for line in table} == {str(sweep.seeds)}


def test_a_recorded_cell_is_reproduced() -> None:
    """The first hidden-size-2 cell of glorot_uniform at rate 0.5 and scale 1, trained now, has the recorded counts.

    Counts may move by a few where the processor's vector instructions round differently, hence the tolerance.
    """
    sweep = sweep_file.load(EXPERIMENTS / "grid.toml")
    point = {"hidden_size": 2, "learning_rate": 0.5, "init": "glorot_uniform", "init_scale": 1.0}
    now = record.row(record.verdicts(sweep.settings(point)))
    table = rows((EXPERIMENTS / "results" / "grid.csv").read_text(encoding="utf-8"))
    (then,) = (line for line in table if all(line[key] == str(value) for key, value in point.items()))
    for name in ("correct", "solved", "recovered", "mirror"):
        assert abs(int(then[name]) - now[name]) <= 10


def test_check_compares_with_the_recorded_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`record.py` writes, `--check` then passes, and names the line once one count is another."""
    small = sweep_file.load(EXPERIMENTS / "stopping.toml", ["seeds=16", "epochs=20"])
    monkeypatch.setattr(sweep_file, "load", lambda *_: small)
    monkeypatch.setitem(record.VARIANTS, "stopping", [{"epochs": 10}])
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert record.main(["stopping"]) == 0
    assert record.main(["stopping", "--check"]) == 0
    path = tmp_path / "stopping.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",16,", ",17,", 1), encoding="utf-8")
    assert record.main(["stopping", "--check"]) == 1
    assert "- 10,2,0.1,17," in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", sample(["encoding", "parity3"], 1, "real sweeps"))
def test_a_real_sweep_finds_what_the_recorder_writes(name: str, tmp_path: Path) -> None:
    """`nnexp sweep` on the same file, through Optuna and MLflow, has the recorder's rates in every cell."""
    small = [*SMALL[name], "space.learning_rate=2.0", "seeds=64", "epochs=400"]
    small += [f"trials={sweep_file.load(EXPERIMENTS / f'{name}.toml', [*small, 'sampler=random']).grid_size}"]
    options = [part for override in small for part in ("--set", override)]
    command = [sys.executable, "-m", "nnexp", "sweep", str(EXPERIMENTS / f"{name}.toml"), *options, "--json"]
    found = subprocess.run(
        [*command, "--pool", "inline"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(EXPERIMENTS.parent), "MLFLOW_DISABLE_TELEMETRY": "true"},
        check=True,
        capture_output=True,
        text=True,
    )
    sweep = sweep_file.load(EXPERIMENTS / f"{name}.toml", small)

    def key(line: dict[str, object]) -> tuple[str, ...]:
        return tuple(str(line[searched]) for searched in sweep.searched)

    ours = {key(point): record.row(record.verdicts(sweep.settings(point))) for point in record.cells(sweep)}
    theirs = {key(line): line for line in json.loads(found.stdout)["ranked"]}
    assert set(theirs) == set(ours)
    for cell, line in theirs.items():
        for rate, count in (("solved_rate", "solved"), ("recovery_rate", "recovered"), ("mirror_rate", "mirror")):
            assert line[rate] == pytest.approx(ours[cell][count] / 64)


def test_the_conclusions_quote_the_recorded_tables() -> None:
    """README.md is what `conclusions.py` writes from the tables: no figure in it is stale."""
    assert (EXPERIMENTS / "README.md").read_text(encoding="utf-8") == conclusions.text()


def test_intervals_over_seeds_account_for_shared_seeds() -> None:
    """Ten copies of one cell tell no more than one: the interval does not shrink with copies."""
    cell = np.random.default_rng(0).random(400) < 0.3
    points = [{"copy": i, "all": 0} for i in range(10)]
    found = record.marginals(["copy", "all"], points, {"solved": np.array([cell] * 10)})
    assert found[0]["solved_low"] == found[-1]["solved_low"]
    assert found[-1]["cells"] == 10


ACTIVATIONS = ("tanh", "sigmoid")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_xor_is_xnor_negated_to_the_bit(activation: str, momentum: float) -> None:
    """From the same start with W2 and b2 negated, XOR's networks stay XNOR's with W2 and b2 negated."""
    settings = Settings(task="xnor", hidden_size=3, activation=activation, momentum=momentum, epochs=500, seeds=64)
    start = initializers.draw(settings, range(64))
    start = start.with_weights(start.W1, start.b1 + 0.25, start.W2, start.b2 - 0.5)
    xnor = nnexp.train(settings, initial=start)
    negated = start.with_weights(start.W1, start.b1, -start.W2, -start.b2)
    xor = nnexp.train(settings.replace(task="xor"), initial=negated)
    for ours, theirs, sign in (("W1", "W1", 1), ("b1", "b1", 1), ("W2", "W2", -1), ("b2", "b2", -1)):
        np.testing.assert_array_equal(getattr(xnor.network, ours), sign * getattr(xor.network, theirs))
    np.testing.assert_array_equal(xnor.loss, xor.loss)
    np.testing.assert_array_equal(xnor.epochs_to_solve, xor.epochs_to_solve)
    grades = [recovery.assess(r.network, r.settings.truth_table) for r in (xnor, xor)]
    np.testing.assert_array_equal(grades[0].family, grades[1].family)
    np.testing.assert_array_equal(grades[0].recovered, grades[1].recovered)


def families(encoding: str, init: str, seeds: int = 1500) -> tuple[int, int]:
    """How many networks of two hidden units end in the hand-designed family, and how many in the mirror's."""
    settings = Settings(encoding=encoding, init=init, hidden_size=2, epochs=3000, seeds=seeds)
    found = record.verdicts(settings)
    return int(found["hand_designed"].sum()), int(found["mirror"].sum())


@pytest.mark.parametrize("init", ["glorot_uniform", "normal"])
def test_both_families_are_equally_likely_under_bipolar_inputs(init: str) -> None:
    """Exact binomial test over independent networks."""
    hand, mirror = families("bipolar", init)
    assert hand + mirror > 200
    assert binomtest(hand, hand + mirror).pvalue > 1e-4


def test_the_mirror_is_more_likely_under_binary_inputs() -> None:
    """The same test, where it has to fail."""
    hand, mirror = families("binary", "glorot_uniform")
    assert binomtest(hand, hand + mirror).pvalue < 1e-4
    assert mirror > hand


def test_mirrored_initial_weights_swap_the_families() -> None:
    """Why: under -1/+1 negating x1's weights and the output turns each network into its mirror.

    Not to the bit, since the samples trade places in the sums.
    """
    settings = Settings(encoding="bipolar", hidden_size=2, epochs=2000, seeds=128)
    start = initializers.draw(settings, range(128))
    mirrored = start.with_weights(start.W1 * np.array([-1.0, 1.0]), start.b1, -start.W2, -start.b2)
    one, other = nnexp.train(settings, initial=start), nnexp.train(settings, initial=mirrored)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-9)
    task = settings.truth_table
    swap = {"hand-designed": "mirror", "mirror": "hand-designed"}
    first = recovery.assess(one.network, task).family
    second = recovery.assess(other.network, task).family
    assert [swap.get(str(name), str(name)) for name in first] == [str(name) for name in second]
