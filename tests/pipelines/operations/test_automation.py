"""What Dagster makes by itself, and when it holds back."""

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


class Automation:
    """Looks at all conditions, one tick after the other."""

    def __init__(self, definitions: Definitions, instance: DagsterInstance) -> None:
        self.instance = instance
        self._definitions, self._cursor = definitions, None

    def tick(self) -> set[str]:
        """Assets that this tick asks for."""
        result: Any = evaluate_automation_conditions(
            defs=self._definitions,
            instance=self.instance,
            asset_selection=AssetSelection.assets(*EVALUATED),
            cursor=self._cursor,
        )
        self._cursor = result.cursor
        return {key.to_user_string() for key in EVALUATED if result.get_num_requested(key)}

    def made(self, *names: str, partition: str | None = None) -> None:
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
        yield Automation(definitions, instance)


def test_a_new_batch_makes_the_data_set_though_another_batch_has_no_shards(automation: Automation) -> None:
    assert automation.tick() == set()
    automation.made("shards", partition="b00001")
    assert automation.tick() == {"dataset"}
    automation.made("dataset")
    assert automation.tick() == set()


def test_a_trained_run_is_evaluated_and_a_new_data_set_alone_is_not(automation: Automation) -> None:
    automation.made("dataset", "perception", "stage1_motion", "stage2_lip", "stage2_eye", "stage2_pose")
    automation.tick()
    automation.made("dataset")
    assert "generated_videos" not in automation.tick()
    automation.made("stage3_expression")
    assert automation.tick() >= {"generated_videos"}
