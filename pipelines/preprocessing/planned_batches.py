"""The sensor `planned_batches`: carries out the newest reprocessing plan, a few batches at a time."""

import json
from dataclasses import asdict, dataclass

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from pipelines.preprocessing.batch_runs import PREPROCESS, BatchWork, batches_in_flight, next_requests
from pipelines.resources import WorkspaceResource
from preprocessing.orchestration.reprocessing import SavedPlan, read_saved_plan


@dataclass(frozen=True)
class Progress:
    """How far a plan is carried out; kept as the sensor's cursor."""

    plan: str
    started: tuple[str, ...] = ()

    @staticmethod
    def of(plan: SavedPlan, cursor: str | None) -> "Progress":
        """The progress of this plan; a newer plan begins anew."""
        told = json.loads(cursor) if cursor else {}
        return Progress(plan.name, tuple(told["started"]) if told.get("plan") == plan.name else ())


@sensor(
    job_name=PREPROCESS,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Starts the stale steps of the batches that the newest reprocessing plan names.",
)
def planned_batches(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """Start what is planned, was not started yet, and has room."""
    plan = read_saved_plan(WorkspaceResource().open())
    if plan is None:
        return SkipReason("no reprocessing plan was made yet: run the job reprocess_stale")
    progress = Progress.of(plan, context.cursor)
    work = [
        BatchWork(one.batch, one.why, f"{plan.name}:{one.batch}", one.steps)
        for one in plan.batches
        if one.batch not in progress.started
    ]
    if not work:
        return SkipReason(f"all {len(plan.batches)} batches of the newest plan were started")
    limit = deployed(OperationsSettings).batches_in_flight
    runs, waiting = next_requests(work, batches_in_flight(context.instance), limit)
    context.log.info("%d batches started, %d wait", len(runs), len(waiting))
    waits = {one.batch for one in waiting}
    started = (*progress.started, *(one.batch for one in work if one.batch not in waits))
    return SensorResult(run_requests=runs, cursor=json.dumps(asdict(Progress(plan.name, started))))
