"""Optuna's own tests of a storage, over each kind of study store."""

from __future__ import annotations

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from nnexp.study import Store

pytest_plugins = ["tests.helpers.study_stores"]


class TestStorageContract(StorageTestCase):
    """The storage that Optuna's samplers and pruners receive behaves as Optuna's own storages do."""

    @pytest.fixture
    def storage(self, store: Store) -> BaseStorage:
        """Optuna's storage in the opened store."""
        return store.storage
