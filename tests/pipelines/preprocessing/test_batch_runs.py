"""Run requests of the sensors."""

from dagster import DagsterInstance, DagsterRunStatus, RunRequest
from dagster._core.test_utils import create_run_for_test

from pipelines.preprocessing.batch_runs import (
    BatchWork,
    batches_in_flight,
    is_unfinished,
    next_requests,
    tagged_settings,
)
from pipelines.preprocessing.planned_batches import PlanCursor
from preprocessing.orchestration.reprocessing import PlannedBatch, SavedPlan


def work(*batches: str) -> list[BatchWork]:
    return [BatchWork(batch, "new batch", f"new:{batch}") for batch in batches]


def keys(requests: list[RunRequest]) -> list[str | None]:
    return [request.partition_key for request in requests]


def test_next_requests_stops_at_the_limit() -> None:
    started, waiting = next_requests(work("a", "b", "c"), in_flight={"x"}, limit=3)
    assert keys(started) == ["a", "b"]
    assert [item.batch for item in waiting] == ["c"]


def test_next_requests_is_empty_above_the_limit() -> None:
    started, waiting = next_requests(work("a"), in_flight={"x", "y", "z"}, limit=2)
    assert not started
    assert len(waiting) == 1


def test_next_requests_skips_batches_in_flight() -> None:
    started, waiting = next_requests(work("a", "b"), in_flight={"a"}, limit=2)
    assert keys(started) == ["b"]
    assert [item.batch for item in waiting] == ["a"]


def test_request_selects_the_stale_steps_and_names_the_reason() -> None:
    item = BatchWork("a", "gaze_labels: code version 1 -> 2", "plan:a", ("gaze_labels", "shards"))
    request = next_requests([item], set(), 1)[0][0]
    assert request.asset_selection is not None
    assert [key.to_user_string() for key in request.asset_selection] == ["gaze_labels", "shards"]
    assert request.tags["pdfgc/reason"] == "gaze_labels: code version 1 -> 2"
    assert request.run_key == "plan:a"


def test_request_gives_each_step_its_own_settings_and_tags_them_all() -> None:
    changes = {"clips.maximum_head_angle_rad": 0.0, "shards.lip_sync.minimum_frames": 30}
    item = BatchWork("a", "settings", "plan:a", ("clips",), changes)
    request = next_requests([item], set(), 1)[0][0]
    assert request.run_config == {"ops": {"clips": {"config": {"maximum_head_angle_degrees": 0.0}}}}
    assert tagged_settings(request.tags) == changes
    assert tagged_settings({}) == {}


def test_batches_in_flight_include_failed_runs_until_they_are_retried() -> None:
    with DagsterInstance.ephemeral() as instance:
        for batch, more in (
            ("a", {"dagster/will_retry": "true"}),
            ("b", {"dagster/will_retry": "false"}),
            ("c", {"dagster/will_retry": "true", "dagster/auto_retry_run_id": "the-retry"}),
        ):
            tags = {"dagster/partition": batch, **more}
            create_run_for_test(instance, job_name="preprocess", status=DagsterRunStatus.FAILURE, tags=tags)
        assert batches_in_flight(instance) == {"a"}


def test_batches_in_flight_are_those_of_unfinished_runs() -> None:
    with DagsterInstance.ephemeral() as instance:
        for batch, status in (
            ("a", DagsterRunStatus.STARTING),
            ("b", DagsterRunStatus.STARTED),
            ("c", DagsterRunStatus.SUCCESS),
            ("d", DagsterRunStatus.FAILURE),
        ):
            tags = {"dagster/partition": batch}
            create_run_for_test(instance, job_name="preprocess", status=status, tags=tags)
        assert batches_in_flight(instance) == {"a", "b"}
        assert is_unfinished(instance, "preprocess")
        assert not is_unfinished(instance, "scan_sources")


def test_plan_cursor_restarts_with_a_newer_plan() -> None:
    plan = SavedPlan("run1", batches=(PlannedBatch("a", "why", ("shards",)),))
    assert PlanCursor.of(plan, None) == PlanCursor("run1")
    assert PlanCursor.of(plan, '{"plan": "run1", "started": ["a"]}') == PlanCursor("run1", ("a",))
    assert PlanCursor.of(plan, '{"plan": "run0", "started": ["a"]}') == PlanCursor("run1")
