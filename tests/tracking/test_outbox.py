"""The outbox: complete entries or none, one holder at a time, through kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.errors import StoreError
from nnexp.tracking.outbox import Entry, Outbox
from tests.helpers.finished_trials import FILES, trial_run, write_entry


def test_entry_reads_as_written(outbox: Outbox) -> None:
    """Run and files are read as they were written, floats to the bit."""
    written = trial_run(12)
    entry = outbox.write(written, FILES)
    (found,) = outbox.entries("xnor")
    assert found == entry
    assert (found.sweep, found.trial) == ("xnor", 12)
    assert found.read() == written
    assert [path.name for path in found.files.iterdir()] == ["best_network.json"]


def test_entries_come_by_trial_and_sweep(outbox: Outbox) -> None:
    """Trials in numerical order; other sweeps apart."""
    for trial in (10, 9, 2, 1_000_000):
        write_entry(outbox, trial)
    write_entry(outbox, 5, sweep="another")
    assert [entry.trial for entry in outbox.entries("xnor")] == [2, 9, 10, 1_000_000]
    assert outbox.sweeps() == ["another", "xnor"]
    assert len(outbox.entries()) == 5
    assert outbox.entries("none") == []


@given(st.text(min_size=1, max_size=20))
def test_any_sweep_name_stays_within_the_outbox(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Slashes, dots and other alphabets neither leave the directory nor clash."""
    if not name.isprintable():
        return
    outbox = Outbox(tmp_path_factory.mktemp("spool"))
    entry = write_entry(outbox, 0, sweep=name)
    assert entry.sweep == name
    assert entry.path.parent.parent == outbox.root
    assert outbox.entries(name) == [entry] == outbox.entries()


def test_newer_entry_replaces(outbox: Outbox) -> None:
    """A trial trained again has one entry, the newer."""
    write_entry(outbox, 1)
    write_entry(outbox, 1, started=2 * 10**12)
    (entry,) = outbox.entries("xnor")
    assert entry.read().started_ms == 2 * 10**12 + 1


def test_removed_entry_is_gone_and_nothing_else(outbox: Outbox) -> None:
    """Removing twice is no error; an empty outbox leaves no directory behind."""
    entry = write_entry(outbox, 1)
    entry.remove()
    entry.remove()
    assert outbox.entries() == []
    outbox.clean()
    assert not outbox.root.exists()


def test_failed_write_leaves_nothing(outbox: Outbox) -> None:
    """An artifact that cannot be written is a StoreError that says what to do."""

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"trial 3 \(No space left on device\)"):
        outbox.write(trial_run(3), {"networks.parquet": fail})
    assert outbox.entries() == []
    assert list((outbox.root / "xnor").iterdir()) == []


def test_damaged_entry_is_named(outbox: Outbox) -> None:
    """The error says which file, and that the trial is trained again if it is deleted."""
    entry = write_entry(outbox, 1)
    (entry.path / "run.json").write_text('{"sweep": "xn')
    with pytest.raises(StoreError, match=r"run\.json: damaged .* trained again"):
        entry.read()


def test_one_process_at_a_time_holds_the_lock(outbox: Outbox) -> None:
    """While one process holds an entry, another does not get it; afterwards it does; nobody gets a removed entry."""
    entry = write_entry(outbox, 1)
    code = (
        "import sys; from pathlib import Path; from nnexp.tracking.outbox import Entry\n"
        "with Entry(Path(sys.argv[1])).locked() as mine: print(mine)"
    )

    def elsewhere() -> str:
        return subprocess.run([sys.executable, "-c", code, entry.path], capture_output=True, text=True).stdout.strip()

    with entry.locked() as mine:
        assert mine
        assert elsewhere() == "False"
    assert elsewhere() == "True"
    with entry.locked():
        entry.remove()
    with entry.locked() as mine:
        assert not mine


def test_lock_of_a_replaced_entry_does_not_lock_the_new_one(outbox: Outbox) -> None:
    """A lock counts only for the directory that is still at its path."""
    entry = write_entry(outbox, 1)
    with entry.locked() as mine:
        assert mine
        write_entry(outbox, 1, started=2 * 10**12)
        with Entry(entry.path).locked() as newer:
            assert newer


def test_kill_at_any_instant_leaves_complete_entries(outbox: Outbox) -> None:
    """Writers that are killed leave only complete entries, and incomplete ones that `clean` removes."""
    code = (
        "import sys; from pathlib import Path\n"
        "from nnexp.tracking.outbox import Outbox; from tests.helpers.finished_trials import write_entry\n"
        "outbox = Outbox(Path(sys.argv[1])); print('go', flush=True)\n"
        "while True:\n  for trial in range(5): write_entry(outbox, trial)\n"
    )
    for pause in (0.01, 0.02, 0.035, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", code, outbox.root], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for entry in outbox.entries():
            assert entry.read() == trial_run(entry.trial)
            assert (entry.files / "best_network.json").read_text() == '{"index": 3}\n'
    outbox.clean()
    assert all(path.name.isdecimal() for path in (outbox.root / "xnor").iterdir())


def test_clean_leaves_what_is_being_written(outbox: Outbox) -> None:
    """An entry that another process is writing is not removed."""

    def cleaning(path: Path) -> None:
        outbox.clean()
        path.write_text("kept")

    entry = outbox.write(trial_run(0), {"a.txt": cleaning})
    assert (entry.files / "a.txt").read_text() == "kept"
