"""Secrets are removed, and nothing else."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from nnexp._redact import redact

#: Characters that SQLAlchemy accepts in a password: all but @.
ANYTHING = "abcXYZ012-_%!$*/'\"#?&:;,=\\ \n"
DATABASES = ["postgresql", "postgresql+psycopg", "mysql", "dask", "http+unix", "_odd"]


def error_text(url: str) -> str:
    """An error's text with the URL in it twice."""
    return f"cannot open '{url}', {url}: refused"


@given(
    user=st.sampled_from(["user", "me@corp", ""]),
    secret=st.text(ANYTHING, min_size=6, max_size=20),
    scheme=st.sampled_from(DATABASES),
)
def test_password_that_sqlalchemy_accepts_is_masked(user: str, secret: str, scheme: str) -> None:
    """Alone, and wherever the URL is in a text."""
    url = f"{scheme}://{user}:{secret}@host:5432/name"
    assert make_url(url).password == unquote(secret)
    assert redact(url) == f"{scheme}://{user}:***@host:5432/name"
    assert redact(error_text(url)) == error_text(f"{scheme}://{user}:***@host:5432/name")


@given(secret=st.text("ab01/'\"#?@", min_size=6, max_size=20), scheme=st.sampled_from(DATABASES))
def test_password_with_an_unquoted_at_is_masked(secret: str, scheme: str) -> None:
    """Up to the last one, although for SQLAlchemy the password ends at the first."""
    assert redact(error_text(f"{scheme}://user:{secret}@host:5432/name")) == error_text(
        f"{scheme}://user:***@host:5432/name"
    )


@given(secret=st.text(ANYTHING, min_size=6, max_size=20), scheme=st.sampled_from(["http", "https", "HTTP"]))
def test_password_of_a_server_is_masked(secret: str, scheme: str) -> None:
    """Also one with characters that should be quoted, if it cannot be read as a port and a path."""
    assert redact(error_text(f"{scheme}://user:x{secret}@host:5000/#/a@b")) == error_text(
        f"{scheme}://user:***@host:5000/#/a@b"
    )


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///mlflow.db",
        "http://127.0.0.1:5000/#/experiments/1",
        "a@b.example",
        "postgresql://user@host/name",
        "10:30",
        "http://h:5000/x@y",
        "http://h:5000: connection refused; ask a@b.example",
        "cannot open 'http://127.0.0.1:5000', https://h:443?x=a@b, http://h:5000/#/models/xnor@champion",
    ],
)
def test_other_text_is_untouched(text: str) -> None:
    """Nothing without a password changes."""
    assert redact(text) == text


def test_unusual_passwords() -> None:
    """An unquoted @, an empty user, a password in the query."""
    assert redact("postgresql://u:p@ss@host/db") == "postgresql://u:***@host/db"
    assert redact("redis://:hunter22@host") == "redis://:***@host"
    assert redact("postgresql://h/db?user=u&password=hunter22&x=1") == "postgresql://h/db?user=u&password=***&x=1"
    assert redact("postgresql://h/d?password=a'b;c\"d&x=1") == "postgresql://h/d?password=***&x=1"
    assert redact("postgresql://h/d?x=1&sslkeypass=hunter22 refused") == "postgresql://h/d?x=1&sslkeypass=*** refused"
    assert redact("http://user:12345@host") == "http://user:***@host"
    assert redact("bad scheme://u:hunter22@h") == "bad scheme://u:***@h"


def test_secrets_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens and passwords that libraries read from the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok-123456")
    monkeypatch.setenv("PGPASSWORD", "abc")
    assert redact("Authorization: Bearer tok-123456; abc") == "Authorization: Bearer ***; abc"
