"""Runs of the job `preprocess` that sensors request, with a limit on batches in flight."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunRequest, RunsFilter
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from pipelines.forms import in_degrees
from preprocessing.orchestration.chosen_settings import Changes, as_form

PREPROCESS: Final = "preprocess"
REASON_TAG: Final = "pdfgc/reason"
SETTINGS_TAG: Final = "pdfgc/settings"
"""Settings of a planned run, as JSON by dotted name: they count as written. Of a form only what differs from
the deployment's counts, since the launchpad fills in all the rest."""
PARTITION_TAG: Final = "dagster/partition"
REASON_CHARACTERS: Final = 200  # the run's page shows a tag on one line; the plan holds the whole reason
RETRIED_WITHIN: Final = timedelta(hours=1)  # the daemon starts retries every few seconds, if it runs
UNFINISHED: Final = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class BatchWork:
    """A requested run of a batch."""

    batch: str
    reason: str
    run_key: str  # Dagster starts one run per key
    steps: tuple[str, ...] = ()  # empty: all
    changes: Changes = field(default_factory=dict)  # settings of this run alone


def batches_in_flight(instance: DagsterInstance) -> set[str]:
    """Batches with a run of `preprocess`, by anyone, that is queued, running or about to be retried."""
    unfinished = RunsFilter(job_name=PREPROCESS, statuses=list(UNFINISHED))
    to_retry = RunsFilter(
        job_name=PREPROCESS,
        statuses=[DagsterRunStatus.FAILURE],
        tags={WILL_RETRY_TAG: "true"},
        updated_after=datetime.now(UTC) - RETRIED_WITHIN,
    )
    waiting = [run for run in instance.get_runs(to_retry) if AUTO_RETRY_RUN_ID_TAG not in run.tags]
    return {run.tags.get(PARTITION_TAG, "") for run in (*instance.get_runs(unfinished), *waiting)}


def is_unfinished(instance: DagsterInstance, job: str) -> bool:
    """Whether a job has a queued or running run."""
    return bool(instance.get_runs(RunsFilter(job_name=job, statuses=list(UNFINISHED)), limit=1))


def next_requests(
    work: Sequence[BatchWork], in_flight: set[str], limit: int
) -> tuple[list[RunRequest], list[BatchWork]]:
    """Run requests up to the limit, and the work that must wait.

    Args:
        work: in order of priority.
        in_flight: batches with an unfinished run; they count, and get no second run.
        limit: maximum number of batches in flight.
    """
    free = max(0, limit - len(in_flight))
    requests: list[RunRequest] = []
    waiting: list[BatchWork] = []
    for item in work:
        if len(requests) == free or item.batch in in_flight:
            waiting.append(item)
        else:
            requests.append(_request(item))
    return requests, waiting


def tagged_settings(tags: Mapping[str, str]) -> Changes:
    """The settings that a plan gave a run."""
    return json.loads(tags.get(SETTINGS_TAG, "{}"))


def _request(work: BatchWork) -> RunRequest:
    settings = {SETTINGS_TAG: json.dumps(dict(work.changes))} if work.changes else {}
    return RunRequest(
        run_config={"ops": _step_configs(work)} if work.changes else {},
        run_key=work.run_key,
        job_name=PREPROCESS,
        partition_key=work.batch,
        asset_selection=[AssetKey(step) for step in work.steps] or None,
        tags={REASON_TAG: work.reason[:REASON_CHARACTERS], **settings},
    )


def _step_configs(work: BatchWork) -> dict[str, Any]:
    """The changed settings in the forms of the steps that the run has."""
    forms = in_degrees(as_form(work.changes))
    return {step: {"config": form} for step, form in forms.items() if step in work.steps or not work.steps}
