"""Schedules and the sensor that train: they request the deployment's run, which becomes a partition."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from dagster import DagsterInstance, SensorResult, SkipReason, build_schedule_context, build_sensor_context
from upath import UPath

from pipelines.definitions import definitions
from pipelines.training import dataset_changed as dataset_changed_module
from pipelines.training.dataset_changed import dataset_changed
from preprocessing.dataset.index import DATASET, WHOLE
from storage.manifest import Input
from storage.publishing import BuildReport, Recipe, materialise
from training.stage_catalog import RENDERING_STAGE


def publish(root: UPath, asset: str, partition: str, inputs: dict[str, Input]) -> None:
    materialise(root, Recipe(asset, partition, "1", {}, inputs), lambda _: BuildReport({}, {}))


def test_weekly_training_requests_the_deployments_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDFGC__TRAINING__RUN", "weekly")
    repository = definitions.get_repository_def()
    with DagsterInstance.local_temp(str(tmp_path)) as instance:  # schedules need a persistent one
        context = build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2026, 1, 3, 4, tzinfo=UTC),
            repository_def=repository,
        )
        tick = repository.get_schedule_def("weekly_training").evaluate_tick(context)
        assert [request.partition_key for request in tick.run_requests or []] == ["weekly"]
        assert instance.get_dynamic_partitions("training_runs") == ["weekly"]


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_dataset_changed_requests_a_run_above_the_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path))
    monkeypatch.setattr(dataset_changed_module, "changed_share", lambda *_: share)
    with DagsterInstance.ephemeral() as instance:
        assert isinstance(dataset_changed(build_sensor_context(instance)), SkipReason)  # no data set
        publish(UPath(tmp_path), DATASET, WHOLE, {})
        publish(UPath(tmp_path), RENDERING_STAGE, "default", {"dataset": Input("0" * 64)})
        result = dataset_changed(build_sensor_context(instance))
    if share < 0.1:
        assert isinstance(result, SkipReason)
        assert result.skip_message == (
            "5.0% of the samples differ from the last training of 'default', threshold 10.0%"
        )
    else:
        assert isinstance(result, SensorResult)
        assert [request.partition_key for request in result.run_requests or []] == ["default"]
        assert [added.partition_keys for added in result.dynamic_partitions_requests or []] == [["default"]]
