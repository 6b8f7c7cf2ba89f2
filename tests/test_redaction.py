"""Secrets never pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.redaction import redact

WORDS = st.text("abcXYZ012-_%!$*", min_size=6, max_size=20)


@given(secret=WORDS, scheme=st.sampled_from(["postgresql", "postgresql+psycopg", "http", "https", "dask"]))
def test_password_in_any_url_is_masked(secret: str, scheme: str) -> None:
    """Whatever text surrounds the URL, and however often it stands there."""
    url = f"{scheme}://user:{secret}@host:5432/name"
    shown = redact(f"cannot open '{url}', {url}: refused")
    assert f":{secret}@" not in shown
    assert shown.count("user:***@host:5432/name") == 2


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///mlflow.db",
        "http://127.0.0.1:5000/#/experiments/1",
        "a@b.example",
        "postgresql://user@host/name",
        "10:30",
    ],
)
def test_other_text_is_untouched(text: str) -> None:
    """Nothing without a password changes."""
    assert redact(text) == text


def test_awkward_passwords() -> None:
    """An unquoted @, an empty user, a password in the query."""
    assert redact("postgresql://u:p@ss@host/db") == "postgresql://u:***@host/db"
    assert redact("redis://:hunter22@host") == "redis://:***@host"
    assert redact("postgresql://h/db?user=u&password=hunter22&x=1") == "postgresql://h/db?user=u&password=***&x=1"


def test_secrets_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens and passwords that libraries take from the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok-123456")
    monkeypatch.setenv("PGPASSWORD", "abc")
    assert redact("Authorization: Bearer tok-123456; abc") == "Authorization: Bearer ***; abc"
