"""A bucket, as the tests of the storage have it."""

from tests.storage.conftest import bucket, object_store

__all__ = ["bucket", "object_store"]
