"""The spool: complete entries or none, one holder at a time, through kills."""

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
from nnexp.tracking import directory_lock
from nnexp.tracking.spool import Entry, Spool
from tests.helpers.finished_trials import FILES, trial_run, write_entry


def test_entry_reads_as_written(spool: Spool) -> None:
    """Run and files are read as they were written, floats to the bit."""
    written = trial_run(12)
    entry = spool.write(written, FILES)
    (found,) = spool.entries("xnor")
    assert found == entry
    assert (found.sweep, found.trial) == ("xnor", 12)
    assert found.read() == written
    assert [path.name for path in found.files.iterdir()] == ["best_network.json"]


def test_entries_come_by_trial_and_sweep(spool: Spool) -> None:
    """Trials in numerical order; other sweeps apart."""
    for trial in (10, 9, 2, 1_000_000):
        write_entry(spool, trial)
    write_entry(spool, 5, sweep="another")
    assert [entry.trial for entry in spool.entries("xnor")] == [2, 9, 10, 1_000_000]
    assert spool.sweeps() == ["another", "xnor"]
    assert len(spool.entries()) == 5
    assert spool.entries("none") == []


@given(st.text(min_size=1, max_size=20))
def test_any_sweep_name_stays_within_the_spool(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Slashes, dots and other alphabets neither leave the directory nor clash."""
    if not name.isprintable():
        return
    spool = Spool(tmp_path_factory.mktemp("spool"))
    entry = write_entry(spool, 0, sweep=name)
    assert entry.sweep == name
    assert entry.path.parent.parent == spool.root
    assert spool.entries(name) == [entry] == spool.entries()


def test_newer_entry_replaces(spool: Spool) -> None:
    """A trial trained again has one entry, the newer."""
    write_entry(spool, 1)
    write_entry(spool, 1, started=2 * 10**12)
    (entry,) = spool.entries("xnor")
    assert entry.read().started_ms == 2 * 10**12 + 1


def test_removed_entry_is_gone_and_nothing_else(spool: Spool) -> None:
    """Removing twice is no error; an empty spool leaves no directory behind."""
    entry = write_entry(spool, 1)
    entry.remove()
    entry.remove()
    assert spool.entries() == []
    spool.clean()
    assert not spool.root.exists()


def test_failed_write_leaves_nothing(spool: Spool) -> None:
    """An artifact that cannot be written is a StoreError that says what to do."""

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"trial 3 \(No space left on device\)"):
        spool.write(trial_run(3), {"networks.parquet": fail})
    assert spool.entries() == []
    assert list((spool.root / "xnor").iterdir()) == []


def test_damaged_entry_is_named(spool: Spool) -> None:
    """The error says which file, and that the trial is trained again if it is deleted."""
    entry = write_entry(spool, 1)
    (entry.path / "run.json").write_text('{"sweep": "xn')
    with pytest.raises(StoreError, match=r"run\.json: damaged .* trained again"):
        entry.read()


def test_one_process_at_a_time_holds_the_lock(spool: Spool) -> None:
    """While one process holds an entry, another does not get it; afterwards it does; nobody gets a removed entry."""
    entry = write_entry(spool, 1)
    code = (
        "import sys; from pathlib import Path; from nnexp.tracking.spool import Entry\n"
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


def test_lock_of_a_replaced_entry_does_not_lock_the_new_one(spool: Spool) -> None:
    """A lock counts only for the directory that is still at its path."""
    entry = write_entry(spool, 1)
    with entry.locked() as mine:
        assert mine
        write_entry(spool, 1, started=2 * 10**12)
        with Entry(entry.path).locked() as newer:
            assert newer


def test_kill_at_any_instant_leaves_complete_entries(spool: Spool) -> None:
    """Writers that are killed leave only complete entries, and incomplete ones that `clean` removes."""
    code = (
        "import sys; from pathlib import Path\n"
        "from nnexp.tracking.spool import Spool; from tests.helpers.finished_trials import write_entry\n"
        "spool = Spool(Path(sys.argv[1])); print('go', flush=True)\n"
        "while True:\n  for trial in range(5): write_entry(spool, trial)\n"
    )
    for pause in (0.01, 0.02, 0.035, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", code, spool.root], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for entry in spool.entries():
            assert entry.read() == trial_run(entry.trial)
            assert (entry.files / "best_network.json").read_text() == '{"index": 3}\n'
    spool.clean()
    assert all(path.name.isdecimal() for path in spool.root.glob("xnor/*"))


def test_clean_leaves_what_is_being_written(spool: Spool) -> None:
    """An entry that another process is writing is not removed."""

    def cleaning(path: Path) -> None:
        spool.clean()
        path.write_text("kept")

    entry = spool.write(trial_run(0), {"a.txt": cleaning})
    assert (entry.files / "a.txt").read_text() == "kept"


def test_wait_for_a_locked_directory_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the directory and the process that holds it."""
    monkeypatch.setattr(directory_lock, "LIMIT", 0.1)
    with (
        directory_lock.locked(tmp_path) as held,
        pytest.raises(StoreError, match=rf"{tmp_path}: locked by process {os.getpid()} for 0 s"),
        directory_lock.locked(tmp_path, wait=True),
    ):
        pytest.fail("two holders")
    assert held
