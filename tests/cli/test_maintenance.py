"""`doctor --deliver` and `completion`, which need no sweep; `test_stores` has the others."""

from __future__ import annotations

from tests.helpers.command_line import called, program


def test_delivering_from_an_empty_spool_does_not_say_no_faults() -> None:
    """The message is only that the spool is empty, since the stores were not compared."""
    for args, words in (
        ((), "is empty: nothing to deliver"),
        (("typo",), "has no trials of 'typo': nothing to deliver"),
    ):
        status, out, err = called("doctor", *args, "--deliver")
        assert (status, out) == (0, "")
        assert "nnexp-spool" in err
        assert words in err
        assert "no faults" not in err
    assert called("doctor", "--deliver", "--json")[1] == "[]\n"


def test_completion_is_printed_for_each_shell() -> None:
    """The shell then completes the commands."""
    for shell in ("bash", "zsh", "fish"):
        assert "nnexp" in called("completion", shell)[1]
    offered = program(env={"_NNEXP_COMPLETE": "bash_complete", "COMP_WORDS": "nnexp su", "COMP_CWORD": "1"})
    assert {"plain,summarize", "plain,submit"} == set(offered.stdout.split())
