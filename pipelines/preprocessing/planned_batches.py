"""The sensor `planned_batches`: runs the latest reprocessing plan, a few batches at a time."""

import json
from dataclasses import asdict, dataclass

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from pipelines.preprocessing.batch_runs import PREPROCESS, BatchWork, batches_in_flight, next_requests
from pipelines.resources import WorkspaceResource
from preprocessing.orchestration.reprocessing import SavedPlan, read_saved_plan


@dataclass(frozen=True)
class PlanCursor:
    """The batches of a plan that were started; stored as the cursor of the sensor."""

    plan: str
    started: tuple[str, ...] = ()

    @staticmethod
    def of(plan: SavedPlan, cursor: str | None) -> "PlanCursor":
        """The stored cursor if it belongs to this plan, else an empty one."""
        stored = json.loads(cursor) if cursor else {}
        return PlanCursor(plan.name, tuple(stored["started"]) if stored.get("plan") == plan.name else ())


@sensor(
    job_name=PREPROCESS,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Starts the stale steps of the batches in the latest reprocessing plan.",
)
def planned_batches(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """Request runs of planned batches that were not started, up to the limit."""
    plan = read_saved_plan(WorkspaceResource().open())
    if plan is None:
        return SkipReason("no reprocessing plan: run the job reprocess_stale")
    previous = PlanCursor.of(plan, context.cursor)
    work = [
        BatchWork(planned.batch, planned.why, f"{plan.name}:{planned.batch}", planned.steps, plan.changes)
        for planned in plan.batches
        if planned.batch not in previous.started
    ]
    if not work:
        return SkipReason(f"all {len(plan.batches)} batches of the latest plan were started")
    limit = deployed(OperationsSettings).batches_in_flight
    runs, waiting = next_requests(work, batches_in_flight(context.instance), limit)
    context.log.info("%d batches requested, %d waiting", len(runs), len(waiting))
    waiting_batches = {item.batch for item in waiting}
    started = (
        *previous.started,
        *(item.batch for item in work if item.batch not in waiting_batches),
    )
    return SensorResult(run_requests=runs, cursor=json.dumps(asdict(PlanCursor(plan.name, started))))
