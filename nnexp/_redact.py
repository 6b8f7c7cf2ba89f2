"""Removing secrets from text that a person or a store will see."""

from __future__ import annotations

import os
import re

MASK = "***"

#: Environment variables whose values are secret.
SECRET_VARIABLES = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
)

# scheme://user:password@host as SQLAlchemy parses it: the user ends at the first : or /, the password at the first @,
# and both may contain any other character. A password that contains @ itself is covered too: the match extends to the
# last @ of the word.
_IN_DATABASE = re.compile(r"(?P<start>(?<!http)(?<!https)://[^:/]*:)[^@]*@(?:(?:(?!://)\S)*@)?", re.I)
# A server's address with a port and a later @ (http://h:5000/x@y) has the same form. Digits are a port if they end
# where a port can end.
_PORT = r"\d{1,5}(?:[/?#]|[^\w@%]*(?:\s|$))"
_IN_SERVER = re.compile(rf"(?P<start>(?:http|https)://[^:/]*:)(?!{_PORT})[^@]*@(?:[^\s/?#]*@)?", re.I)
_IN_QUERY = re.compile(
    r"(?P<start>(?:[?&][\w.-]*(?:pass|token|secret)\w*|(?:^|[;\s])(?:password|passwd|token|secret|sslpassword))=)[^\s&]+",
    re.I,
)


def redact(text: object) -> str:
    """``text`` with every URL's password, and the value of every secret variable of the environment, as ``***``."""
    # A password ends before the last @. Searching only there keeps long text without an @ fast.
    before, at, after = str(text).rpartition("@")
    shown = _IN_DATABASE.sub(rf"\g<start>{MASK}@", before + at)
    shown = _IN_SERVER.sub(rf"\g<start>{MASK}@", shown)
    shown = _IN_QUERY.sub(rf"\g<start>{MASK}", shown + after)
    for variable in SECRET_VARIABLES:
        value = os.environ.get(variable, "")
        if len(value) >= 4:  # replacing a shorter value would remove ordinary words
            shown = shown.replace(value, MASK)
    return shown
