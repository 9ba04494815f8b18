"""The sensor `new_videos`: has new videos scanned, and new batches preprocessed."""

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
SETTINGS: Final = deployed(OperationsSettings)


@sensor(
    name=SENSOR,
    jobs=[scan_job, preprocess],
    minimum_interval_seconds=SETTINGS.scan_every_seconds,
    default_status=DefaultSensorStatus.RUNNING,
    description="Finds new videos under the folders and buckets of PDFGC_VIDEOS and those scanned before; "
    "each new batch is preprocessed once, a few at a time.",
)
def new_videos(context: SensorEvaluationContext) -> SensorResult:
    """Ask for a scan where settled files are unseen, and for runs of batches that were never made."""
    root, folders = WorkspaceResource().open(), SourcesResource().all_folders()
    found = unseen_files(root, folders, UnseenSettings(settle_seconds=SETTINGS.settle_seconds))
    scans = [] if is_unfinished(context.instance, SCAN) else scan_requests(found, time.time())
    assert batches.name is not None
    keys = context.instance.get_dynamic_partitions(batches.name)
    made = context.instance.get_materialized_partitions(AssetKey(LAST_STEP))
    missing = sorted(set(keys) - set(made))
    # A batch that was started before and has no shards failed: the nightly plan takes it up, not this.
    before = started_keys(context.instance) if missing else set()
    work = [BatchWork(key, "new batch", f"new:{key}") for key in missing if f"new:{key}" not in before]
    runs, waiting = next_requests(work, batches_in_flight(context.instance), SETTINGS.batches_in_flight)
    context.log.info("%s", account(found, runs, waiting))
    return SensorResult(run_requests=[*scans, *runs])


def scan_requests(found: UnseenFiles, now_seconds: float) -> list[RunRequest]:
    """A scan for the unseen files, once an hour at most for the same ones: a scan may fail."""
    if not found.settled:
        return []
    # What arrives between this look and the scan is left alone like what arrived just before.
    settle = {"scan": {"settle_seconds": SETTINGS.settle_seconds}}
    return [
        RunRequest(
            run_key=f"scan:{found.digest}:{int(now_seconds // 3600)}",
            job_name=SCAN,
            run_config={"resources": {"sources": {"config": settle}}},
        )
    ]


def account(found: UnseenFiles, runs: Sequence[RunRequest], waiting: Sequence[BatchWork]) -> str:
    """What the tick saw, in a line."""
    away = (
        f"; cannot be listed now: {', '.join(found.unreadable_folders)}" if found.unreadable_folders else ""
    )
    names = f" ({', '.join(found.names)} …)" if found.names else ""
    return (
        f"{found.settled} unseen files{names}, {found.fresh} still being copied; "
        f"{len(runs)} batches started, {len(waiting)} wait{away}"
    )


def started_keys(instance: DagsterInstance) -> set[str]:
    """Run keys of all that this sensor has ever started."""
    runs = instance.get_runs(RunsFilter(job_name=PREPROCESS, tags={SENSOR_NAME_TAG: SENSOR}))
    return {run.tags.get(RUN_KEY_TAG, "") for run in runs}
