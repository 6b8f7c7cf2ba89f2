"""What a result was computed with."""

from __future__ import annotations

import importlib.metadata

import numpy as np

from nnexp.tracking import provenance


def test_tags_name_versions_and_cpu_features() -> None:
    """Every child run carries them, by the contract's names; the commit only in a source tree."""
    tags = provenance.tags()
    assert tags["nnexp.version"] == importlib.metadata.version("nnexp")
    assert tags["nnexp.numpy_version"] == np.__version__
    assert tags["nnexp.python_version"].startswith("3.")
    assert tags["nnexp.cpu_features"] == " ".join(sorted(set(tags["nnexp.cpu_features"].split())))
    assert tags.get("nnexp.commit") == provenance.commit()
