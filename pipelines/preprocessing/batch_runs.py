"""Runs of the job `preprocess` that sensors start: how many at once, for which batches, of which steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunRequest, RunsFilter

PREPROCESS: Final = "preprocess"
WHY_TAG: Final = "pdfgc/why"
PARTITION_TAG: Final = "dagster/partition"
WHY_CHARACTERS: Final = 200  # the run's page shows a tag on one line; the plan holds the whole reason
UNFINISHED: Final = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class BatchWork:
    """What to run for a batch."""

    batch: str
    why: str
    run_key: str  # Dagster starts one run for each, ever
    steps: tuple[str, ...] = ()  # none: all


def batches_in_flight(instance: DagsterInstance) -> set[str]:
    """Batches with a run of `preprocess` that is queued or running, whoever started it."""
    runs = instance.get_runs(RunsFilter(job_name=PREPROCESS, statuses=list(UNFINISHED)))
    return {run.tags.get(PARTITION_TAG, "") for run in runs}


def is_unfinished(instance: DagsterInstance, job: str) -> bool:
    """Whether a run of a job is queued or running."""
    return bool(instance.get_runs(RunsFilter(job_name=job, statuses=list(UNFINISHED)), limit=1))


def next_requests(
    work: Sequence[BatchWork], in_flight: set[str], limit: int
) -> tuple[list[RunRequest], list[BatchWork]]:
    """As many runs as there is room for, and what must wait.

    Args:
        work: what is to be done, in order.
        in_flight: batches that are worked on now: they take room, and none is worked on twice at once.
        limit: batches in flight at most.
    """
    room = max(0, limit - len(in_flight))
    started: list[RunRequest] = []
    waiting: list[BatchWork] = []
    for one in work:
        if len(started) == room or one.batch in in_flight:
            waiting.append(one)
        else:
            started.append(_request(one))
    return started, waiting


def _request(work: BatchWork) -> RunRequest:
    return RunRequest(
        run_key=work.run_key,
        job_name=PREPROCESS,
        partition_key=work.batch,
        asset_selection=[AssetKey(step) for step in work.steps] or None,
        tags={WHY_TAG: work.why[:WHY_CHARACTERS]},
    )
