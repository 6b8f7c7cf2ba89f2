"""Sweep files: what is accepted, which error a wrong file gets, and that `parse` inverts `text`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.cli.networks import SETTINGS
from nnexp.errors import UsageError
from nnexp.network import tasks
from nnexp.network.settings import INITIALIZERS, Settings
from nnexp.recovery.grades import assess
from nnexp.recovery.trial_metrics import curves, final_metrics
from nnexp.search import space
from nnexp.search.metrics import metric_directions
from nnexp.search.seeds import AdaptiveSeeds, RaceTable
from nnexp.search.space import Choice, Fixed, FloatRange, IntRange
from nnexp.search.sweep_file import Sweep, differing_keys, load, parse, starter
from nnexp.training.trainer import train
from tests.helpers.generate_readme import README

SMALL = 'name = "small"\n[space]\nhidden_size = [2, 3]\n'


def small(*overrides: str) -> Sweep:
    """The smallest sweep file, with ``overrides``."""
    return parse(SMALL, "small.toml", overrides)


def refusal(text: str, *overrides: str) -> str:
    """The error, one line, with which a file is rejected."""
    with pytest.raises(UsageError) as caught:
        parse(text, "bad.toml", overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_starter_is_a_valid_sweep_of_the_documented_space() -> None:
    """`nnexp new` writes a file that runs as it is."""
    sweep = parse(starter())
    assert sweep.searched == {
        "hidden_size": IntRange(2, 8),
        "learning_rate": FloatRange(1e-3, 10.0, log=True),
        "init": Choice(INITIALIZERS),
        "init_scale": FloatRange(0.01, 5.0, log=True),
    }


def test_the_starter_names_every_task() -> None:
    """And so do the help of `nnexp train` and the README."""
    for text in (starter(), SETTINGS["task"][2], README.read_text(encoding="utf-8")):
        assert [name for name in tasks.NAMES if name not in text] == []


def test_keys_that_a_file_does_not_name_have_their_defaults() -> None:
    """A file names only what differs from them."""
    sweep = small()
    assert (sweep.task, sweep.trials, sweep.seeds, sweep.epochs, sweep.seed) == ("xnor", 200, 256, 5000, 0)
    assert (sweep.sampler, sweep.pruner, sweep.stop, sweep.dtype) == ("tpe", "none", "none", "float64")
    assert (sweep.batch, sweep.lease) == (8, 60.0)
    assert (sweep.objective, sweep.directions) == (("recovery_rate",), ("maximize",))
    default = Settings()
    assert all(dim == Fixed(getattr(default, key)) for key, dim in sweep.space.items() if key != "hidden_size")


def test_the_default_objective_of_a_task_without_a_reference_is_its_solved_rate() -> None:
    """The default objective is a metric that the task has."""
    assert small("task=and").objective == ("solved_rate",)
    assert small("task=parity:3").objective == ("recovery_rate",)


@pytest.mark.parametrize(
    ("objective", "direction"),
    [
        ("recovery_rate", "maximize"),
        ("xnor_accuracy", "maximize"),
        ("mirror_rate", "maximize"),
        ("loss", "minimize"),
        ("epochs_to_solve_median", "minimize"),
        ("diverged_rate", "minimize"),
        ("reference_distance_median", "minimize"),
        ("train_seconds", "minimize"),
    ],
)
def test_each_metric_has_its_direction(objective: str, direction: str) -> None:
    """Losses, epochs, distances, divergence and time are minimized, rates maximized."""
    assert small(f"objective={objective}").directions == (direction,)


def test_a_list_of_objectives_may_have_a_list_of_directions() -> None:
    """Without it, each metric has its own direction."""
    both = small('objective=["recovery_rate", "loss"]')
    assert both.directions == ("maximize", "minimize")
    assert small('objective=["recovery_rate", "loss"]', 'directions=["minimize", "maximize"]').directions == (
        "minimize",
        "maximize",
    )


def test_a_grid_counts_its_points() -> None:
    """`trials` may be left out with a grid; a range does not have a number of points."""
    grid = small("sampler=grid", 'space.init=["normal", "uniform", "orthogonal"]', "space.momentum=0.5")
    assert grid.grid_size == grid.trials == 6
    assert small("space.learning_rate={ low = 1, high = 2 }").grid_size is None


def test_settings_combine_searched_and_fixed_values() -> None:
    """The searched values must be exactly those of the space; adaptive seeds start with their first round."""
    sweep = small("space.learning_rate=2", "epochs=70", "seeds={ min = 8, max = 90, width = 0.1 }", "seed=5")
    setting = sweep.settings({"hidden_size": 3})
    assert setting == Settings(hidden_size=3, learning_rate=2.0, epochs=70, seeds=8, seed=5)
    assert sweep.settings({"hidden_size": 3}, seeds=40).seeds == 40
    with pytest.raises(UsageError, match="expected exactly"):
        sweep.settings({"hidden_size": 3, "init": "normal"})


def test_a_task_table_is_read_and_written_back() -> None:
    """With a reference, or without."""
    text = SMALL + "[task]\ninputs = [[0, 0], [0, 1], [1, 0], [1, 1]]\ntargets = [0, 1, 1, 0]\n"
    sweep = parse(text)
    assert sweep.truth_table.targets == (0, 1, 1, 0)
    assert sweep.objective == ("solved_rate",)
    assert parse(sweep.text) == sweep
    reference = text + "reference = { W1 = [[20, 20], [-20, -20]], b1 = [-30, 10], W2 = [-20, -20], b2 = 10 }\n"
    assert parse(reference).objective == ("recovery_rate",)
    assert parse(parse(reference).text) == parse(reference)


def test_exactly_the_metrics_that_are_logged_may_be_objectives() -> None:
    """The metrics of a trained trial are those of `metric_directions`."""
    for task in ("xnor", "xor", "and"):
        setting = Settings(task=task, seeds=64, epochs=300, learning_rate=2.0)
        result = train(setting)
        grades = assess(result.network, setting.truth_table)
        logged = {*final_metrics(result, grades, 1.0), *(key for key, _, _ in curves(result, grades))}
        assert logged == set(metric_directions(setting.truth_table))


def test_overrides_are_toml_or_bare_words() -> None:
    """`--set` accepts values as a file has them, and words without quotes."""
    sweep = small("trials=20", "space.init=normal", "space.learning_rate={low=1,high=9}", "space.momentum=.5")
    assert (sweep.trials, sweep.space["init"], sweep.space["momentum"]) == (20, Fixed("normal"), Fixed(0.5))
    raised = parse(starter(), "x", ["space.learning_rate.high=3"]).space["learning_rate"]
    assert raised == FloatRange(1e-3, 3.0, log=True)


def test_differing_keys_name_each_difference_once() -> None:
    """By its dotted key."""
    a = parse(starter())
    assert differing_keys(a, a) == []
    b = parse(starter(), "x", ["trials=3", "space.init=normal", "seeds={ min = 1, max = 2, width = 0.5 }"])
    assert differing_keys(a, b) == ["trials", "seeds", "space.init"]
    c = b.replace(seeds=AdaptiveSeeds(min=1, max=3, width=0.5))
    assert differing_keys(b, c) == ["seeds.max"]


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (["trails=3"], "trails: unknown key (did you mean 'trials'?)"),
        (["trials=0"], "trials = 0: expected"),
        (["trials=true"], "trials = True: expected"),
        (["seeds=0"], "seeds = 0: expected"),
        (["seeds={ min = 3 }"], "seeds.max: missing"),
        (["seeds={ min = 9, max = 3, width = 0.1 }"], "seeds.min = 9: expected at most"),
        (["seeds={ min = 1, max = 3, with = 0.1 }"], "seeds."),
        (["task=xnot"], "task = 'xnot': unknown task (did you mean 'xnor'?)"),
        (["task=3"], "task = 3: expected"),
        (["sampler=gird"], "sampler = 'gird': expected one of tpe, random, qmc, grid"),
        (["race.start=3"], "race: a table that pruner = 'none' does not use"),
        (["pruner=race", "race.start=0"], "race.start = 0: expected"),
        (["pruner=race", "race.confidence=1.0"], "race.confidence = 1.0: expected"),
        (["pruner=race", "race.strat=3"], "race.strat: unknown key (did you mean 'start'?)"),
        (["pruner=race", "seeds={ min = 1, max = 2, width = 0.5 }"], 'seeds: a table, but pruner = "race" takes'),
        (["pruner=race", "objective=loss"], "objective = 'loss', minimized: pruner = \"race\" takes a rate"),
        (["pruner=race", "directions=minimize"], "objective = 'recovery_rate', minimized: pruner"),
        (["pruner=race", 'objective=["solved_rate", "contains_rate"]'], "pruner = 'race': expected \"none\""),
        (["pruner=median", 'objective=["loss", "solved_rate"]'], "pruner = 'median': expected \"none\""),
        (["sampler=grid", "trials=3"], "trials = 3: expected 2"),
        (["sampler=grid", "space.init_scale={ low = 1, high = 2 }"], "space.init_scale: a range"),
        (["objective=recovery"], "objective = 'recovery': unknown metric (did you mean 'recovery_rate'?)"),
        (["objective=recovery_rate", "task=and"], "objective = 'recovery_rate': task 'and' has no hand-designed"),
        (["objective=[]"], "objective = []"),
        (['objective=["loss", "loss"]'], "objective: 'loss' is listed twice"),
        (['objective=["loss", "solved_rate"]', "directions=minimize"], "directions: 1 given, expected 2"),
        (["directions=down"], "directions = 'down': expected maximize or minimize"),
        (["space.learning_rate=nan"], "space.learning_rate = nan: expected a finite number"),
        (["space.learning_rate={ low = 0, high = 1 }"], "space.learning_rate.low = 0: expected"),
        (["space.momentum={ low = 0, high = 0.5, log = true }"], "space.momentum.low = 0.0: expected more than 0"),
        (["space.learning_rate={ low = 3, high = 1 }"], "space.learning_rate.low = 3.0: expected at most high"),
        (["space.learning_rate={ low = 3 }"], "space.learning_rate.high: missing"),
        (["space.learning_rate={ low = 1, high = 3, lgo = true }"], "space.learning_rate.lgo: unknown key"),
        (["space.learning_rate={ low = 1, high = 3, log = 1 }"], "space.learning_rate.log = 1: expected true or"),
        (["space.hidden_size={ low = 2.5, high = 3 }"], "space.hidden_size.low = 2.5: expected"),
        (["space.hidden_size=[]"], "space.hidden_size = []"),
        (["space.hidden_size=[2, 2]"], "space.hidden_size: 2 is listed twice"),
        (["space.init=glorot"], "space.init = 'glorot': expected one of glorot_uniform"),
        (["space.init={ low = 1, high = 2 }"], "space.init: expected a list of words"),
        (["space.lerning_rate=1"], "space.lerning_rate: unknown key (did you mean 'learning_rate'?)"),
        (["space.epochs=3"], "space.epochs: belongs at the top"),
        (["space=3"], "space = 3: expected a table"),
        (["hidden_size=3"], "hidden_size: belongs in [space]"),
        (["name=a/b"], "--set name=a/b: 'a/b' is not a TOML value"),
        (['name="../x"'], "name = '../x': expected 1 to 64"),
        (["name=3"], "name = 3: expected"),
        (["lease=0"], "lease = 0: expected"),
        (["seed=-1"], "seed = -1: expected"),
        (["batch=1.5"], "batch = 1.5: expected"),
        (["dtype=float16"], "dtype = 'float16': expected one of float64, float32"),
        (["stop=never"], "stop = 'never': expected one of none"),
        (["trials"], "--set trials: expected key=value"),
        (["name.first=1"], "--set name.first=1: name is 'small' in the file, not a table"),
    ],
)
def test_each_wrong_value_is_named(overrides: list[str], start: str) -> None:
    """The line starts with the file's name and the key; an override that cannot be read is named as a whole."""
    message = refusal(SMALL, *overrides)
    assert message.removeprefix("bad.toml: ").startswith(start)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "name: missing"),
        ('name = "x"\n', "space: missing"),
        ('name = "x"\n[space]\n', "space: missing"),
        ("name = \n", "not valid TOML: Invalid value (at line 1, column 8)"),
        ('name = "x"\n\n[space\n', "not valid TOML: Expected ']'"),
        ('name = "x', "not valid TOML: Unterminated string (at line 1, column 10, the end)"),
        ("name = " + "[" * 9999, "not valid TOML: nested too deep"),
        ("trials = " + "9" * 5000, "not valid TOML: a number has too many digits"),
        (SMALL + "[task]\ninputs = [[0, 1], [1]]\ntargets = [0, 1]\n", "task.inputs[1]: 1 values, expected 2"),
        (SMALL + "[task]\ninputs = [[0, 1], [0, 1]]\ntargets = [0, 1]\n", "task.inputs[1]: the same row"),
    ],
)
def test_the_error_of_a_wrong_text_names_the_place(text: str, start: str) -> None:
    """Line and column where the text is not TOML; the key where a part is missing or has a wrong shape."""
    assert refusal(text).removeprefix("bad.toml: ").startswith(start)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """With the reason; where the encoding is wrong, also with the line."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "x"\n# caf\xe9\n')
    for path, reason in {
        tmp_path / "none.toml": "no such file",
        tmp_path: "a directory",
        latin: "not UTF-8 text (line 2",
        Path("nul\0byte"): "cannot be read",
    }.items():
        with pytest.raises(UsageError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: {reason}")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    """Editors on Windows write one, and end lines with two characters."""
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load(path) == small()


#: As nnexp 0.1.0 stored it with a study.
OF_0_1_0 = """\
name = "xnor"
task = "xnor"
trials = 3
seeds = { min = 3, max = 9, width = 0.5 }
epochs = 2000
seed = 0
sampler = "tpe"
pruner = "none"
objective = "recovery_rate"
directions = "maximize"
stop = "none"
dtype = "float64"
batch = 8
lease = 60.0

[space]
hidden_size = { low = 2, high = 8, log = false }
learning_rate = { low = 0.001, high = 10.0, log = true }
init = ["glorot_uniform", "glorot_normal", "he_normal", "normal", "uniform", "orthogonal"]
init_scale = { low = 0.01, high = 5.0, log = true }
momentum = 0.0
activation = "tanh"
loss = "cross_entropy"
encoding = "binary"
"""


def test_the_text_that_0_1_0_stored_describes_the_same_sweep() -> None:
    """A sweep that was begun with 0.1.0 continues: no key of its file differs."""
    space = {
        "hidden_size": IntRange(2, 8),
        "learning_rate": FloatRange(1e-3, 10.0, log=True),
        "init": Choice(("glorot_uniform", "glorot_normal", "he_normal", "normal", "uniform", "orthogonal")),
        "init_scale": FloatRange(0.01, 5.0, log=True),
    }
    same = Sweep(name="xnor", trials=3, seeds=AdaptiveSeeds(min=3, max=9, width=0.5), epochs=2000, space=space)
    assert differing_keys(parse(OF_0_1_0), same) == []


def test_a_race_has_its_defaults_and_is_written_only_where_there_is_one() -> None:
    """So that the text of a sweep that does not race is the one that 0.1.0 stored."""
    still = parse(starter())
    assert still.race is None
    assert "race" not in {line.split(" ")[0].strip("[]") for line in still.text.splitlines()}
    racing = parse(starter(), "x", ["pruner=race"])
    assert racing.race == RaceTable(start=32, confidence=0.95, tolerance=0.02)
    assert racing.first_seeds == 32
    assert differing_keys(still, racing) == ["pruner", "race"]
    other = parse(starter(), "x", ["pruner=race", "race.tolerance=0.1", "seeds=8"])
    assert differing_keys(racing, other) == ["seeds", "race.tolerance"]
    assert other.first_seeds == 8


def test_a_sweep_is_frozen() -> None:
    """All threads of a worker share it."""
    with pytest.raises(Exception, match="frozen"):
        small().trials = 3  # type: ignore[misc]


WORDS = {key: st.sampled_from(words) for key, words in space._WORDS.items()}
NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "hidden_size": st.integers(1, 1024),
    "learning_rate": st.floats(1e-300, 1e300),
    "init_scale": st.floats(5e-324, 1.7e308),
    "momentum": st.floats(1e-9, 0.999),
}


def ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Ranges as a file has them."""
    pairs = st.tuples(values, values, st.booleans())
    return pairs.map(lambda drawn: {"low": min(drawn[:2]), "high": max(drawn[:2]), "log": drawn[2]})


def dimensions(key: str) -> st.SearchStrategy[Any]:
    """Any valid value of ``space.key``."""
    values = WORDS[key] if key in WORDS else NUMBERS[key]
    several = st.lists(values, min_size=1, max_size=4, unique=True)
    return st.one_of(values, several) if key in WORDS else st.one_of(values, several, ranges(values))


SPACES = st.sets(st.sampled_from(list(space.KINDS)), min_size=1).flatmap(
    lambda keys: st.fixed_dictionaries({key: dimensions(key) for key in sorted(keys)})
)


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    """Any valid sweep of a known task."""
    task = draw(st.sampled_from(["xnor", "xor", "and", "parity:3", "majority:5"]))
    known = list(metric_directions(tasks.get(task)))
    objective = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
    direction = metric_directions(tasks.get(task))[objective[0]]
    pruner = draw(st.sampled_from(["none", "median", "asha"])) if len(objective) == 1 else "none"
    seeds = draw(st.integers(1, 10**7) | st.just({"min": 4, "max": 9, "width": 0.25}))
    race = None
    if len(objective) == 1 and objective[0].endswith("_rate") and direction == "maximize" and isinstance(seeds, int):
        race = draw(st.none() | st.fixed_dictionaries({}, optional={"start": st.integers(1, 99)}))
    return Sweep(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)),
        task=task,
        trials=draw(st.integers(1, 10**6)),
        seeds=seeds,
        seed=draw(st.integers(0, 2**63 - 1)),
        sampler=draw(st.sampled_from(["tpe", "random", "qmc", "nsga2"])),
        pruner=pruner if race is None else "race",
        race=race,
        objective=objective,
        lease=draw(st.floats(1e-3, 86_400)),
        space=draw(SPACES),
    )


@given(sweeps())
def test_reading_the_text_of_a_sweep_returns_an_equal_sweep(sweep: Sweep) -> None:
    """`parse` inverts `text`, and the text is the canonical form of what it describes."""
    again = parse(sweep.text)
    assert again == sweep
    assert again.text == sweep.text
    assert differing_keys(sweep, again) == []
