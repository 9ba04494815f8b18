"""Automation: which assets Dagster requests after an update, and for which partitions."""

from collections.abc import Iterator
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSelection,
    DagsterInstance,
    Definitions,
    evaluate_automation_conditions,
)

from training.stage_catalog import STAGE_NAMES


class Automation:
    """Evaluates all conditions, tick by tick."""

    def __init__(self, definitions: Definitions, instance: DagsterInstance) -> None:
        self.instance = instance
        self._definitions, self._cursor = definitions, None

    def tick(self) -> set[str]:
        """Assets that this tick requests."""
        result = self._evaluate()
        return {key.to_user_string() for key in EVALUATED if result.get_num_requested(key)}

    def tick_partitions(self, *names: str) -> dict[str, set[str]]:
        """Partitions that this tick requests of each asset."""
        result = self._evaluate()
        return {name: set(result.get_requested_partitions(AssetKey(name))) for name in names}

    def _evaluate(self) -> Any:
        result: Any = evaluate_automation_conditions(
            defs=self._definitions,
            instance=self.instance,
            asset_selection=AssetSelection.assets(*EVALUATED),
            cursor=self._cursor,
        )
        self._cursor = result.cursor
        return result

    def materialise(self, *names: str, partition: str | None = None) -> None:
        """Report assets as materialised."""
        for name in names:
            event = AssetMaterialization(AssetKey(name), partition=partition)
            self.instance.report_runless_asset_event(event)


EVALUATED = [
    AssetKey(name)
    for name in (
        "dataset",
        "generated_videos",
        "lip_sync_evaluation",
        "control_evaluation",
        "quality_evaluation",
        "evaluation_report",
    )
]


@pytest.fixture
def automation() -> Iterator[Automation]:
    from pipelines.definitions import definitions

    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("batches", ["b00000", "b00001"])
        instance.add_dynamic_partitions("training_runs", ["default", "ablation"])
        yield Automation(definitions, instance)


def test_dataset_is_requested_despite_a_missing_batch(automation: Automation) -> None:
    assert automation.tick() == set()
    automation.materialise("shards", partition="b00001")
    assert automation.tick() == {"dataset"}
    automation.materialise("dataset")
    assert automation.tick() == set()


def test_evaluation_is_requested_after_training_only(automation: Automation) -> None:
    automation.materialise("dataset")
    automation.materialise(*STAGE_NAMES[:-1], partition="default")
    automation.tick()
    automation.materialise("dataset")
    assert "generated_videos" not in automation.tick()
    automation.materialise("stage3_expression", partition="default")
    assert automation.tick() >= {"generated_videos"}


def test_every_trained_run_is_evaluated(automation: Automation) -> None:
    automation.materialise("dataset")
    automation.materialise(*STAGE_NAMES[:-1], partition="default")
    automation.tick()
    # The ablation starts from the stages of the other run, so it has no stage2_lip of its own.
    for run in ("default", "ablation"):
        automation.materialise("stage3_expression", partition=run)
    requested = automation.tick_partitions("generated_videos", "lip_sync_evaluation", "evaluation_report")
    assert set(map(frozenset, requested.values())) == {frozenset({"default", "ablation"})}
