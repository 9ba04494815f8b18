"""Presets of toy size, as the evaluation's tests have them; a bucket, as the storage's have it."""

from tests.evaluation.conftest import toy_presets
from tests.storage.conftest import bucket, object_store

__all__ = ["bucket", "object_store", "toy_presets"]
