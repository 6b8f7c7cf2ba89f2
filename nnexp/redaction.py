"""Secrets taken out of text that a person or a store will see (floor 0)."""

from __future__ import annotations

import os
import re

MASK = "***"

#: Variables of the environment whose values are secret, whoever set them.
SECRET_VARIABLES = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
)

# scheme://user:password@host. A password may hold an unquoted @, so it reaches to the last @ before the path ends.
_IN_URL = re.compile(r"(?P<start>\b[a-zA-Z][\w+.-]*://[^\s:/@'\"]*:)(?P<secret>[^\s/'\"]+)@")
_IN_QUERY = re.compile(r"(?P<start>[?&;\s](?:password|passwd|token|secret|sslpassword)=)(?P<secret>[^\s&;'\"]+)", re.I)


def redact(text: object) -> str:
    """``text`` with every URL's password, and the value of every secret variable of the environment, as ``***``."""
    shown = _IN_URL.sub(rf"\g<start>{MASK}@", str(text))
    shown = _IN_QUERY.sub(rf"\g<start>{MASK}", shown)
    for variable in SECRET_VARIABLES:
        value = os.environ.get(variable, "")
        if len(value) >= 4:  # a shorter one would blank ordinary words, and guards nothing
            shown = shown.replace(value, MASK)
    return shown
