"""Batches of videos as Dagster's dynamic partitions."""

from typing import Final

from dagster import DagsterInstance, DynamicPartitionsDefinition

batches: Final = DynamicPartitionsDefinition(name="batches")


def add_batches(instance: DagsterInstance, keys: list[str]) -> list[str]:
    """Make partitions of batches that have none yet; returns those."""
    assert batches.name is not None
    known = set(instance.get_dynamic_partitions(batches.name))
    new = [key for key in keys if key not in known]
    if new:
        instance.add_dynamic_partitions(batches.name, new)
    return new
