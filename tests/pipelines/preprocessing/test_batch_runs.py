"""Which runs sensors start, and how many at once."""

from dagster import DagsterInstance, DagsterRunStatus, RunRequest
from dagster._core.test_utils import create_run_for_test

from pipelines.preprocessing.batch_runs import BatchWork, batches_in_flight, is_unfinished, next_requests
from pipelines.preprocessing.planned_batches import Progress
from preprocessing.orchestration.reprocessing import PlannedBatch, SavedPlan


def work(*batches: str) -> list[BatchWork]:
    return [BatchWork(batch, "new batch", f"new:{batch}") for batch in batches]


def keys(requests: list[RunRequest]) -> list[str | None]:
    return [request.partition_key for request in requests]


def test_no_more_runs_start_than_there_is_room_for() -> None:
    started, waiting = next_requests(work("a", "b", "c"), in_flight={"x"}, limit=3)
    assert keys(started) == ["a", "b"]
    assert [one.batch for one in waiting] == ["c"]


def test_nothing_starts_where_too_many_run_already() -> None:
    started, waiting = next_requests(work("a"), in_flight={"x", "y", "z"}, limit=2)
    assert not started
    assert len(waiting) == 1


def test_a_batch_that_is_worked_on_waits_and_takes_no_ones_room() -> None:
    started, waiting = next_requests(work("a", "b"), in_flight={"a"}, limit=2)
    assert keys(started) == ["b"]
    assert [one.batch for one in waiting] == ["a"]


def test_only_the_stale_steps_are_asked_for_with_the_reason() -> None:
    one = BatchWork("a", "gaze_labels: code version 1 -> 2", "plan:a", ("gaze_labels", "shards"))
    request = next_requests([one], set(), 1)[0][0]
    assert request.asset_selection is not None
    assert [key.to_user_string() for key in request.asset_selection] == ["gaze_labels", "shards"]
    assert request.tags["pdfgc/why"] == "gaze_labels: code version 1 -> 2"
    assert request.run_key == "plan:a"


def test_runs_that_have_not_ended_are_in_flight() -> None:
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


def test_a_plans_progress_is_kept_until_a_newer_plan_comes() -> None:
    plan = SavedPlan("run1", batches=(PlannedBatch("a", "why", ("shards",)),))
    assert Progress.of(plan, None) == Progress("run1")
    assert Progress.of(plan, '{"plan": "run1", "started": ["a"]}') == Progress("run1", ("a",))
    assert Progress.of(plan, '{"plan": "run0", "started": ["a"]}') == Progress("run1")
