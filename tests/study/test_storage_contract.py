"""Optuna's own tests of a storage, over each kind of study store."""

from __future__ import annotations

import gc
import warnings

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from nnexp.study import Store


class TestStorageContract(StorageTestCase):
    """The storage that Optuna's samplers and pruners receive behaves as Optuna's own storages do."""

    @pytest.fixture
    def storage(self, store: Store) -> BaseStorage:
        """Optuna's storage in the opened store."""
        return store.storage

    def test_pickle_storage(self, storage: BaseStorage) -> None:
        """A copy made by pickle reads the same; Optuna's test does not close its connections, so they are here."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            super().test_pickle_storage(storage)
            gc.collect()
