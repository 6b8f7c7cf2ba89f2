"""`reference`, `train` and `predict`, which need no store."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import pytest

from nnexp.cli import networks
from nnexp.errors import UsageError
from nnexp.network.settings import Settings
from tests.helpers.command_line import called


def test_the_options_of_train_are_the_fields_of_settings() -> None:
    """Names, defaults and choices are written twice, since the help must not import `Settings`; they must agree."""
    fields = Settings.model_fields
    assert list(networks.SETTINGS) == list(fields)
    for name, (kind, default, _) in networks.SETTINGS.items():
        assert default == str(fields[name].default)
        if isinstance(kind, click.Choice):
            assert all(getattr(Settings(**{name: word}), name) == word for word in kind.choices)
            with pytest.raises(UsageError, match=", ".join(kind.choices)):
                Settings(**{name: "?"})


def test_the_reference_is_shown_as_in_the_source() -> None:
    """The truth table, the weights and cost of both forms, and the result of the literal reading with tanh."""
    status, out, err = called("reference")
    assert (status, err) == (0, "")
    for words in ("a1 = x1 and x2", "a2 = not x1 and not x2", "output = a1 or a2", "[[20, 20], [-20, -20]]"):
        assert words in out
    assert "[[10, 10], [-10, -10]]" in out
    assert out.count("4.546e-05, 4 of 4 rows right") == 2
    assert "2 of 4 rows right" in out
    facts = json.loads(called("reference", "--json")[1])
    assert facts["sigmoid"]["loss"] == pytest.approx(4.546e-5, rel=1e-3)
    assert facts["tanh"]["loss"] == pytest.approx(facts["sigmoid"]["loss"], rel=1e-9)
    assert facts["literal_tanh"]["rows_right"] == 2


def test_train_prints_rates_with_intervals() -> None:
    """The table and JSON agree."""
    args = ["train", "--hidden-size", "2", "--seeds", "40", "--epochs", "1500", "--learning-rate", "2"]
    status, out, err = called(*args)
    assert (status, err) == (0, "")
    facts = json.loads(called(*args, "--json")[1])
    assert facts["settings"] == Settings(hidden_size=2, seeds=40, epochs=1500, learning_rate=2.0).model_dump()
    solved = facts["rates"]["solved"]
    assert 0 < solved["low"] < solved["rate"] == solved["count"] / 40 < solved["high"] < 1
    assert sum(facts["families"].values()) == 40
    assert any(line.split()[:2] == ["solved", str(solved["count"])] for line in out.splitlines())


def test_networks_that_diverge_are_counted() -> None:
    """An infinite median loss is null in JSON."""
    args = ["train", "--learning-rate", "1e308", "--init-scale", "1e300", "--seeds", "5", "--epochs", "10"]
    facts = json.loads(called(*args, "--json")[1])
    assert facts["diverged"] == 5
    assert facts["loss_median"] is None
    assert "diverged" in called(*args)[1]


def test_train_writes_every_network(tmp_path: Path) -> None:
    """In the same form as a run of a sweep."""
    from nnexp.recovery.networks_table import read_networks

    assert called("train", "--seeds", "7", "--epochs", "20", "--output", "networks.parquet")[0] == 0
    assert read_networks(tmp_path / "networks.parquet").num_rows == 7


def weights(path: Path, **changes: object) -> Path:
    """The hand-designed network as a file of weights."""
    facts = json.loads(called("reference", "--json")[1])["sigmoid"]
    given = {key: facts[key] for key in ("W1", "b1", "W2", "b2")}
    path.write_text(json.dumps({**given, "activation": "sigmoid", **changes}))
    return path


def test_training_from_the_reference_keeps_it(tmp_path: Path) -> None:
    """`--initial` reads the weights and the activation from the file."""
    file = str(weights(tmp_path / "reference.json"))
    facts = json.loads(called("train", "--initial", file, "--epochs", "5", "--json")[1])
    assert facts["settings"]["activation"] == "sigmoid"
    assert (facts["networks"], facts["settings"]["hidden_size"]) == (1, 2)
    assert facts["rates"]["recovered"]["count"] == 1
    status, _, err = called("train", "--initial", file, "--hidden-size", "3")
    assert status == 2
    assert "2 hidden units" in err


def test_predict_computes_the_truth_table(tmp_path: Path) -> None:
    """From options and from a CSV file with a header."""
    file = str(weights(tmp_path / "reference.json"))
    (tmp_path / "inputs.csv").write_text("x1,x2\n1,0\n1,1\n")
    status, out, err = called("predict", "--model", file, "--x", "0,0", "--x", "0,1", "--csv", "inputs.csv", "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert [line["x"] for line in facts["predictions"]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [line["answer"] for line in facts["predictions"]] == [1, 0, 0, 1]
    assert "probability of 1" in called("predict", "--model", file, "--x", "0,0")[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"b1": [1.0]}, "b1: shape [1], expected [2]"),
        ({"W1": [[1, 2], [3]]}, "W1: expected numbers"),
        ({"W2": ["a", "b"]}, "W2: expected numbers"),
        ({"b2": float("nan")}, "b2: expected finite"),
        ({"activation": "relu"}, "activation = 'relu'"),
        ({"activation": None}, "activation: missing; expected tanh or sigmoid"),
    ],
)
def test_a_wrong_file_of_weights_is_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    """By the file, the key and what was expected."""
    file = str(weights(tmp_path / "reference.json", **changes))
    status, _, err = called("predict", "--model", file, "--x", "0,1")
    assert status == 2
    assert words in err
    assert "reference.json" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe,1\n", "can't decode byte"), (b"1" * 200_000 + b",1\n", "field larger than field limit")],
)
@pytest.mark.parametrize("table", ["inputs.csv", "-"])
def test_an_unreadable_csv_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str, table: str
) -> None:
    """From a file or from stdin."""
    (tmp_path / "inputs.csv").write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    status, out, err = called("predict", "--model", str(weights(tmp_path / "reference.json")), "--csv", table)
    assert (status, out) == (2, "")
    assert err.startswith(f"nnexp: error: --csv {'stdin' if table == '-' else table}: cannot be read (")
    assert words in err
    assert err.count("\n") == 1
