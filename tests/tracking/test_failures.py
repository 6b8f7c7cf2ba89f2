"""Failures of stores: one line that says what to do, without secrets."""

from __future__ import annotations

import sys

import pytest

from nnexp.errors import StoreError, UnreachableError
from nnexp.tracking.store import Tracking
from tests.helpers.servers import free_port


@pytest.mark.parametrize(
    ("uri", "missing", "advice"),
    [
        ("postgresql://u:hush-hush@127.0.0.1:1/db", "psycopg", "pip install 'nnexp[postgresql]'"),
        ("postgresql+pg8000://u:hush-hush@127.0.0.1:1/db", "pg8000", "install the Python module pg8000"),
        ("mysql://u:hush-hush@127.0.0.1/db", "MySQLdb", "install the Python module MySQLdb"),
    ],
)
def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch, uri: str, missing: str, advice: str) -> None:
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(StoreError) as caught:
        Tracking(uri)
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_absent_server_is_reported_at_once_without_its_password() -> None:
    """There are no minutes of silent retries, and the message holds no secret."""
    tracking = Tracking(f"http://me:hush-hush@127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError, match="connection refused") as caught:
        tracking.sweeps()
    assert "hush" not in str(caught.value)
    with pytest.raises(UnreachableError, match=r"^http://me:\*\*\*@127.0.0.1:\d+: connection refused; check"):
        tracking.find_sweep("a long name " * 20)
