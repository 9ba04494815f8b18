"""What Dagster loads: the graph of the design, quickly and without the heavy packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, Definitions

from pipelines.partitions import batches, training_runs
from pipelines.preprocessing import identities
from pipelines.preprocessing.identities import identity_assets
from tests.conftest import REPOSITORY
from training.stage_catalog import STAGE_NAMES

GRAPH = {
    "source_videos": set[str](),
    "face_tracks": {"source_videos"},
    "clips": {"face_tracks"},
    "pose_labels": {"clips"},
    "gaze_labels": {"clips", "pose_labels"},
    "lip_sync_scores": {"clips"},
    "eye_anchors": {"clips", "pose_labels", "gaze_labels"},
    "shards": {"clips", "pose_labels", "gaze_labels", "lip_sync_scores", "eye_anchors"},
    "dataset": {"shards"},
    "perception": {"dataset"},
    "stage1_motion": {"dataset", "perception"},
    "stage2_lip": {"dataset", "stage1_motion"},
    "stage2_eye": {"dataset", "stage1_motion"},
    "stage2_pose": {"dataset", "stage1_motion"},
    "stage3_expression": {
        "dataset",
        "perception",
        "stage1_motion",
        "stage2_lip",
        "stage2_eye",
        "stage2_pose",
    },
    "generated_videos": {"dataset", "stage3_expression"},
    "lip_sync_evaluation": {"generated_videos", "stage2_lip"},
    "control_evaluation": {"generated_videos"},
    "quality_evaluation": {"generated_videos"},
    "evaluation_report": {"lip_sync_evaluation", "control_evaluation", "quality_evaluation"},
    "baseline_run": {"evaluation_report"},
    "reprocessing_plan": set[str](),
}
WITHOUT_TABLE = {"generated_videos", "baseline_run", "reprocessing_plan"}
EVALUATION = {
    "generated_videos",
    "lip_sync_evaluation",
    "control_evaluation",
    "quality_evaluation",
    "evaluation_report",
}
BY_BATCH = {
    "face_tracks",
    "clips",
    "pose_labels",
    "gaze_labels",
    "lip_sync_scores",
    "eye_anchors",
    "shards",
}
RECORDED_BY_JOBS = {"baseline_run", "reprocessing_plan"}  # materializing all assets leaves them alone


def test_loading_imports_no_heavy_packages() -> None:
    code = (
        "import sys, pipelines.definitions; "
        "print([name for name in ('torch', 'mediapipe', 'onnxruntime', 'matplotlib', 'webdataset') "
        "if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    from pipelines.definitions import definitions

    return definitions


def test_asset_graph(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == GRAPH


def test_assets_that_jobs_record_cannot_be_materialized(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    names = {name for name in GRAPH if not graph.get(AssetKey(name)).is_materializable}
    assert names == RECORDED_BY_JOBS


def test_assets_that_need_weights_wait_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity_assets() == []
    monkeypatch.setattr(identities, "resolve_step_weights", lambda *_: {})
    keys = {asset.key.to_user_string() for asset in identity_assets()}
    assert keys == {"identity_embeddings", "identity_report"}


def test_every_asset_has_metadata(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name in GRAPH:
        node = graph.get(AssetKey(name))
        assert node.description
        assert node.group_name
        assert node.owners
        assert node.kinds
        if node.group_name == "training":
            assert node.pools == {"gpu"}
            continue
        if name in WITHOUT_TABLE:
            continue
        columns = node.metadata["columns"].columns
        assert columns
        assert all(column.description for column in columns)


def test_assets_are_partitioned_by_batch_or_training_run(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    partitions = {name: graph.get(AssetKey(name)).partitions_def for name in GRAPH}
    assert {name for name, definition in partitions.items() if definition == batches} == BY_BATCH
    by_run = {name for name, definition in partitions.items() if definition == training_runs}
    assert by_run == {*STAGE_NAMES, *EVALUATION, "baseline_run"}


def test_blocking_checks(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {
        "pose_in_range",
        "pose_complete",
        "gaze_in_range",
        "gaze_complete",
        "anchors_verified",
        "checksums",
        "identities_disjoint",
        "losses_finite",
        "checkpoint_reloads",
        "every_video_exists",
        "has_values",
        "no_regression_against_baseline",
    }


def test_every_stage_has_a_job(definitions: Definitions) -> None:
    for stage in ("all", *STAGE_NAMES):
        job = definitions.resolve_job_def(f"train_{stage}")
        expected = STAGE_NAMES if stage == "all" else (stage,)
        assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == set(expected)


def test_job_evaluate_selects_the_evaluation(definitions: Definitions) -> None:
    job = definitions.resolve_job_def("evaluate")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == EVALUATION


def test_default_status_of_sensors_and_schedules(definitions: Definitions) -> None:
    repository = definitions.get_repository_def()
    sensors = {sensor.name: sensor.default_status.value for sensor in repository.sensor_defs}
    assert sensors == {
        "new_videos": "RUNNING",
        "planned_batches": "RUNNING",
        "failed_runs": "RUNNING",
        "automation": "RUNNING",
        "dataset_changed": "STOPPED",
    }
    schedules = {schedule.name: schedule.default_status.value for schedule in repository.schedule_defs}
    assert schedules == {
        "nightly_reprocessing": "RUNNING",
        "weekly_training": "STOPPED",
        "weekly_gc": "STOPPED",
        "nightly_verify": "STOPPED",
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", [("check", "defs"), ("list", "defs", "--json")])
def test_dg_finds_the_definitions(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    result = subprocess.run(
        [sys.executable, "-m", "dagster_dg_cli.cli", *command],
        cwd=REPOSITORY,
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "loaded successfully" in result.stdout or "evaluation_report" in result.stdout
