"""Dagster's dynamic partitions: batches of videos and training runs."""

from collections.abc import Sequence
from typing import Final

from dagster import DagsterInstance, DynamicPartitionsDefinition

from storage.publishing import NAME_PATTERN

batches: Final = DynamicPartitionsDefinition(name="batches")
training_runs: Final = DynamicPartitionsDefinition(name="training_runs")


def add_batches(instance: DagsterInstance, keys: Sequence[str]) -> list[str]:
    """Add partitions for batches that have none; returns the new ones."""
    return _add(instance, batches, keys)


def add_training_run(instance: DagsterInstance, run: str) -> None:
    """Add the partition of a training run, unless it exists.

    Raises:
        ValueError: the name cannot be that of a folder.
    """
    if not NAME_PATTERN.fullmatch(run):
        raise ValueError(f"training run {run!r} must match {NAME_PATTERN.pattern}")
    _add(instance, training_runs, [run])


def _add(
    instance: DagsterInstance, definition: DynamicPartitionsDefinition, keys: Sequence[str]
) -> list[str]:
    assert definition.name is not None
    known = set(instance.get_dynamic_partitions(definition.name))
    new = [key for key in keys if key not in known]
    if new:
        instance.add_dynamic_partitions(definition.name, new)
    return new
