"""The sensor `new_videos`: requests scans for new videos and runs for new batches."""

import time
from collections.abc import Sequence
from typing import Final

from dagster import (
    AssetKey,
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from pipelines.deployed_settings import deployed
from pipelines.jobs import preprocess, scan_job
from pipelines.operations.settings import OperationsSettings
from pipelines.partitions import batches
from pipelines.preprocessing.batch_runs import (
    PREPROCESS,
    BatchWork,
    batches_in_flight,
    is_unfinished,
    next_requests,
)
from pipelines.resources import SourcesResource, WorkspaceResource
from preprocessing.sources.unseen import UnseenFiles, UnseenSettings, unseen_files

SENSOR: Final = "new_videos"
SENSOR_NAME_TAG: Final = "dagster/sensor_name"
RUN_KEY_TAG: Final = "dagster/run_key"
SCAN: Final = "scan_sources"
LAST_STEP: Final = "shards"
NO_FOLDER: Final = "no folder is watched: launch the job add_videos with a folder, or set PDFGC_VIDEOS"
SETTINGS: Final = deployed(OperationsSettings)


@sensor(
    name=SENSOR,
    jobs=[scan_job, preprocess],
    minimum_interval_seconds=SETTINGS.scan_every_seconds,
    default_status=DefaultSensorStatus.RUNNING,
    description="Finds new videos in PDFGC_VIDEOS and in folders scanned before, and preprocesses each new "
    "batch once, a few at a time.",
)
def new_videos(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """Request a scan if there are new files, and runs of batches that have no shards."""
    root, folders = WorkspaceResource().open(), SourcesResource().all_folders()
    unseen = unseen_files(root, folders, UnseenSettings(settle_seconds=SETTINGS.settle_seconds))
    scans = [] if is_unfinished(context.instance, SCAN) else scan_requests(unseen, time.time())
    assert batches.name is not None
    keys = context.instance.get_dynamic_partitions(batches.name)
    packed = context.instance.get_materialized_partitions(AssetKey(LAST_STEP))
    missing = sorted(set(keys) - set(packed))
    # A batch that was started and has no shards has failed: the nightly plan retries it.
    started = started_keys(context.instance) if missing else set()
    work = [BatchWork(key, "new batch", f"new:{key}") for key in missing if f"new:{key}" not in started]
    runs, waiting = next_requests(work, batches_in_flight(context.instance), SETTINGS.batches_in_flight)
    summary = tick_summary(unseen, runs, waiting)
    if not scans and not runs:
        return SkipReason(summary)
    context.log.info("%s", summary)
    return SensorResult(run_requests=[*scans, *runs])


def scan_requests(unseen: UnseenFiles, now_seconds: float) -> list[RunRequest]:
    """A scan for the new files; for the same files at most once an hour, because a scan may fail."""
    if not unseen.settled:
        return []
    # Files that arrive between this tick and the scan are skipped as still being copied.
    settle = {"scan": {"settle_seconds": SETTINGS.settle_seconds}}
    return [
        RunRequest(
            run_key=f"scan:{unseen.digest}:{int(now_seconds // 3600)}",
            job_name=SCAN,
            run_config={"resources": {"sources": {"config": settle}}},
        )
    ]


def tick_summary(unseen: UnseenFiles, runs: Sequence[RunRequest], waiting: Sequence[BatchWork]) -> str:
    """The result of a tick on one line."""
    if not unseen.folders:
        return NO_FOLDER
    failed = f"; cannot list {', '.join(unseen.unreadable_folders)}" if unseen.unreadable_folders else ""
    names = f" ({', '.join(unseen.names)}, …)" if unseen.names else ""
    return (
        f"{unseen.settled} new files{names} in {unseen.folders} watched folders, {unseen.fresh} still being "
        f"copied; "
        f"{len(runs)} batches requested, {len(waiting)} waiting{failed}"
    )


def started_keys(instance: DagsterInstance) -> set[str]:
    """Run keys of all runs that this sensor has started."""
    runs = instance.get_runs(RunsFilter(job_name=PREPROCESS, tags={SENSOR_NAME_TAG: SENSOR}))
    return {run.tags.get(RUN_KEY_TAG, "") for run in runs}
