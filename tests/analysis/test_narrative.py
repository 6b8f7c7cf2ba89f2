"""The answer in words: true for every input that can produce it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnexp.analysis import formats
from nnexp.analysis.contenders import Results
from nnexp.analysis.narrative import sentences
from nnexp.analysis.significance import Outcomes
from nnexp.analysis.summarize import summarize_records
from nnexp.analysis.summary import Summary
from nnexp.search.space import Fixed, IntRange
from nnexp.tracking.schema import RunRecord
from tests.helpers.made_up_sweep import run, sweep


def only_small_networks(setting: dict[str, object]) -> float:
    """Recovery of 40% with 2 hidden units, none with more than 4."""
    return {2: 0.4, 3: 0.2, 4: 0.1}.get(setting["hidden_size"], 0.0)  # type: ignore[call-overload, no-any-return]


def test_the_answer_names_the_first_setting_and_its_uncertainty() -> None:
    """The headline has the setting, the counts and the interval; the tests against the others follow."""
    records, outcomes = sweep(60, only_small_networks)
    summary = summarize_records("s", records, outcomes={"recovery_rate": outcomes}, sampler="random", planned=60)
    text = " ".join(summary.answer)
    best = summary.best
    assert best is not None
    assert f"First in the ranking: trial {best.trial} " in text
    assert "2 hidden units" in text
    assert "not re-tested" in text
    assert re.search(
        r"better than \d+ of the 59 other settings, worse than 0, and not significantly different from \d+", text
    )
    assert re.search(r"Factors that matter.*hidden size, .* at 2 and .* at [5-8]", text)
    assert "learning rate," not in text.split("Factors that matter")[1]
    assert not any("not finished" in note for note in summary.notes)


def paired(first: int, second: int) -> Summary:
    """Two settings: 400 networks recovered under both, ``first`` and ``second`` under one of them alone."""
    both = np.arange(1000) < 400
    one, other = both.copy(), both.copy()
    one[400 : 400 + first] = True
    other[500 : 500 + second] = True
    records = [
        run(t, networks=1000, hidden_size=2 + t, recovery_rate=flags.mean(), solved_rate=1.0, diverged_rate=0.0)
        for t, flags in enumerate((one, other))
    ]
    outcomes = {t: Outcomes(np.arange(1000), flags) for t, flags in enumerate((one, other))}
    return summarize_records("s", records, outcomes={"recovery_rate": outcomes})


def test_the_first_is_called_the_best_only_when_it_is_better_than_every_other() -> None:
    """A significant difference from all others makes the first the best; otherwise it is the first of the ranking."""
    assert paired(60, 3).answer[0].startswith("Best: trial 0")
    assert paired(9, 3).answer[0].startswith("First in the ranking: trial 0")


def test_a_significant_difference_counts_for_the_side_that_it_favours() -> None:
    """A first setting that loses 3 to 39 discordant networks is worse than its rival and beats nobody."""
    summary = paired(39, 3)
    assert summary.rivals is not None
    turned = replace(summary, rivals=summary.rivals.assign(difference=-summary.rivals["difference"]))
    assert "better than 1 of the 1 other settings, worse than 0" in " ".join(sentences(summary))
    assert "better than 0 of the 1 other settings, worse than 1" in " ".join(sentences(turned))
    assert sentences(turned)[0].startswith("First in the ranking")


def test_a_retest_is_the_rate_to_quote() -> None:
    """With a re-test the answer has the rate in the sweep and the rate on fresh networks."""
    records = [run(t, recovery_rate=0.5 - t / 10, solved_rate=0.5) for t in range(3)]
    records[0] = replace(records[0], metrics={**records[0].metrics, "retest_networks": 1000, "retest_rate": 0.39})
    summary = summarize_records("s", records)
    assert "128 of 256" in summary.answer[0]
    assert "390 of 1,000 networks, 39%" in summary.answer[1]
    assert "the rate to quote" in summary.answer[1]
    assert summary.ranked["note"].iloc[0] == "re-tested: 39% of 1,000"


def test_equal_settings_name_no_factor() -> None:
    """Of 15 sweeps with equal settings at most two say that a factor matters."""
    named = 0
    for seed in range(15):
        records, _ = sweep(60, lambda _: 0.3, seed=seed)
        named += "Factors that matter" in " ".join(summarize_records("s", records).answer)
    assert named <= 2


def test_no_recovery_at_all() -> None:
    """Zero recoveries are stated with the rates that the data cannot rule out."""
    records, _ = sweep(5, lambda _: 0.0)
    text = summarize_records("s", records).answer[0]
    assert text.startswith("No network of the sweep recovered the hand-designed solution: 0 of 1,280 networks in 5")
    assert "up to 1.5%" in text


def test_recovery_in_the_retest_alone() -> None:
    """No recovery in the sweep and some among the fresh networks: each is said of the networks that it is true of."""
    one = run(0, networks=64, recovery_rate=0, solved_rate=0.5, retest_networks=1000, retest_rate=0.002)
    text = " ".join(summarize_records("s", [one]).answer)
    assert "No network of the sweep recovered the hand-designed solution: 0 of 64" in text
    assert "Trained again on fresh networks, trial 0, the first in the ranking" in text
    assert "2 of 1,000 networks, 0.2%" in text


def test_contained_but_not_recovered() -> None:
    """Where networks contain the logic and none has recovered it, the answer says that recovery requires more."""
    records = [run(0, recovery_rate=0, solved_rate=0.9, contains_rate=0.78, mirror_rate=0.0)]
    summary = summarize_records("s", records)
    assert "78% contain the hand-designed logic" in summary.answer[-1]
    assert "have not recovered the solution, which requires more" in summary.answer[-1]
    assert any("A network contains the hand-designed logic when" in note for note in summary.notes)


def test_one_trial() -> None:
    """One setting is described, nothing is compared, and there is no interval over settings."""
    summary = summarize_records("s", [run(0, recovery_rate=0.5, solved_rate=0.75, contains_rate=0.5, mirror_rate=0.25)])
    assert summary.answer[0].startswith("One setting has a result")
    assert summary.marginals["recovery_rate_low"].isna().all()
    assert "128 of 256" in formats.to_text(summary)


def test_all_diverged() -> None:
    """Where everything diverged the answer says so, and what to do."""
    records = [run(t, recovery_rate=0, solved_rate=0, diverged_rate=1) for t in range(3)]
    assert "diverged: 768 networks in 3 settings. Try lower learning rates" in summarize_records("s", records).answer[0]


def test_the_notes_name_a_sweep_that_is_still_running() -> None:
    """Running and missing trials are counted; pruned and failed ones are not ranked."""
    records = [
        run(0, recovery_rate=0.5, solved_rate=0.5),
        run(1, status="RUNNING"),
        run(2, status="KILLED", solved_rate=0.1),
    ]
    summary = summarize_records("s", records, planned=10)
    assert summary.running
    assert len(summary.ranked) == 1
    assert any("2 of 10 trials are done" in note for note in summary.notes)
    assert "Not ranked: 1 trial pruned." in summary.notes


def test_nothing_finished_yet() -> None:
    """Runs without results have a summary that says what state they are in."""
    summary = summarize_records("s", [run(0, status="RUNNING"), run(1, status="FAILED")])
    assert summary.best is None
    assert "1 running" in summary.answer[0]
    assert "1 failed" in summary.answer[0]
    assert "No setting has a result yet" in formats.to_text(summary)
    json.loads(formats.to_json(summary))


def test_missing_artifacts_are_named() -> None:
    """What could not be read is named, and the rest is used."""
    summary = summarize_records(
        "s", [run(0, recovery_rate=0.5, solved_rate=0.5)], missing=["networks.parquet of trial 3"]
    )
    assert "Missing and left out: networks.parquet of trial 3." in summary.notes


def test_stop_rule_and_sampler_are_stated() -> None:
    """Early stopping and a sampler that crowds its trials limit what the tables say."""
    records = [run(t, recovery_rate=0.5, solved_rate=0.5, stop="solved") for t in range(2)]
    notes = " ".join(summarize_records("s", records, sampler="tpe").notes)
    assert "stop = solved: networks that stop early are not saturated" in notes
    assert "describe those tried, not the whole search space" in notes


def test_trials_of_an_earlier_version_are_named() -> None:
    """Runs without `needed_rate` were graded by the rule of nnexp 0.1.0: all of them, or so many of them."""
    old = run(0, recovery_rate=0.5, solved_rate=0.5)
    new = run(1, recovery_rate=0.5, solved_rate=0.5, needed_rate=0.1)

    def earlier(*records: RunRecord) -> list[str]:
        return [note for note in summarize_records("s", records).notes if "earlier rule" in note]

    assert earlier(old)[0].startswith("nnexp 0.1.0 graded all trials by an earlier rule")
    assert "graded 1 of the 2 trials, not comparable with the others, by" in earlier(old, new)[0]
    assert earlier(new) == []


COUNTS = st.one_of(st.sampled_from([0, 1, 63, 64]), st.integers(0, 64))


@st.composite
def made_up(draw: st.DrawFn) -> Summary:
    """A summary of one to six settings with 64 networks each, with every kind of rate, re-test and failure."""
    reference = draw(st.booleans())
    trials = draw(st.integers(1, 6))
    records, outcomes = [], {}
    for trial in range(trials):
        status = draw(st.sampled_from(["FINISHED", "FINISHED", "FINISHED", "KILLED", "FAILED", "RUNNING"]))
        solved = draw(COUNTS)
        recovered = draw(st.integers(0, solved))
        contains = draw(st.integers(recovered, solved))
        metrics = {"solved_rate": solved / 64}
        metrics |= {"diverged_rate": draw(st.sampled_from([1.0 if solved == 0 else 0.0, 0.0]))}
        if reference:
            metrics |= {"recovery_rate": recovered / 64, "contains_rate": contains / 64}
            metrics |= {"mirror_rate": draw(st.integers(0, solved - contains)) / 64}
        if draw(st.booleans()):
            metrics |= {"retest_networks": 100.0, "retest_rate": draw(st.integers(0, 100)) / 100}
        if draw(st.integers(0, 9)) == 0:
            metrics = {}
        records.append(run(trial, networks=64, status=status, hidden_size=draw(st.integers(2, 3)), **metrics))
        order = np.random.default_rng(draw(st.integers(0, 99))).permutation(64)
        outcomes[trial] = Outcomes(np.arange(64), order < (recovered if reference else solved))
    done = [r.trial for r in records if r.status == "FINISHED" and "solved_rate" in r.metrics]
    took_part = draw(st.lists(st.sampled_from(done), unique=True)) if done else []
    networks = [draw(st.sampled_from([256, 512, 1024])) for _ in took_part]
    results = Results(
        planned=trials,
        confidence=0.975,
        tolerance=0.02,
        cut=draw(st.sampled_from([0, 0, 3])),
        trials=tuple(took_part),
        networks=tuple(networks),
        successes=tuple(draw(st.sampled_from([0, n]) | st.integers(0, n)) for n in networks),
    )
    tables = draw(st.booleans())
    rate = "recovery_rate" if reference else "solved_rate"
    return summarize_records(
        "s",
        records,
        outcomes={rate: outcomes} if tables else None,
        planned=trials,
        play_off=results if took_part else None,
        space={"hidden_size": IntRange(2, 3), "learning_rate": Fixed(0.5)},
        sampler=draw(st.sampled_from(["random", "tpe"])),
    )


@given(made_up())
def test_every_sentence_is_true(summary: Summary) -> None:
    """No sentence contradicts the tables or another sentence, whatever the rates."""
    text = " ".join(summary.answer)
    assert not re.search(r"\bnan\b|\binf\b|None", text + " ".join(summary.notes))
    best = summary.best
    if best is None:
        assert text.startswith("No setting has a result yet")
        return
    hits = round((summary.ranked[summary.measure] * summary.ranked["networks"]).sum())
    assert ("No network of the sweep" in text) <= (hits == 0)
    assert (hits == 0) == text.startswith(("No network of the sweep", "Every network of the sweep diverged"))
    assert text.startswith("Every network of the sweep diverged") == (summary.ranked["diverged_rate"] == 1).all()
    assert ("the rate to quote" in text) == (best.retest is not None)
    assert not (best.retest and "not re-tested" in text)
    held = summary.play_off
    assert text.startswith("The best") <= (held is not None and hits > 0)
    if held is not None:
        left = [each.trial for each in held.left]
        assert summary.ranked["trial"].head(len(left)).tolist() == left
        assert best.retest == held.left[0].fresh
        assert best.retest.low < best.retest.rate or best.retest.successes == 0
        if text.startswith("The best"):
            assert ("95% sure" in text) == held.whole == text.startswith("The best setting")
            assert held.whole == (summary.sampler == "random" and not held.cut)
            named = re.search(r"sure: trials ([\d, and]+)\.", text) or re.search(r"is trial (\d+) \(", text)
            assert named is not None
            assert sorted(map(int, re.findall(r"\d+", named.group(1)))) == sorted(left)
            assert ("3 more may be the best" in text) == bool(held.cut)
    if text.startswith("Best:"):
        assert summary.rivals is not None
        assert len(summary.rivals) == len(summary.ranked) - 1
        assert ((summary.rivals["p_holm"] <= 0.05) & (summary.rivals["difference"] > 0)).all()
    if found := re.search(
        r"better than (\d+) of the (\d+) other .*worse than (\d+), and not significantly different from (\d+)", text
    ):
        better, others, worse, level = map(int, found.groups())
        assert better + worse + level == others < len(summary.ranked)
    if found := re.search(r"([<>\d.]+)% contain the hand-designed", text):
        contained = found.group(1) != "0"
        assert ("Those that contain it have not recovered" in text) == (contained and hits == 0)
    if "recovered" in text or "contain" in text:
        assert any("has recovered the hand-designed solution when" in note for note in summary.notes)
    json.loads(formats.to_json(summary))
