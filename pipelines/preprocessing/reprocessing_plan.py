"""The job `reprocess_stale` and the asset `reprocessing_plan` that it records.

The asset cannot be materialized: *Materialize all* must not start reprocessing.
"""

from typing import Any, Final

from dagster import (
    AssetMaterialization,
    AssetSpec,
    Config,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    job,
    op,
)
from pydantic import Field

from pipelines.deployed_settings import deployed
from pipelines.durations import duration
from pipelines.metadata import changes_text
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.preprocessing.adopt_settings import chosen_text
from pipelines.resources import PreprocessingResource, WorkspaceResource
from pipelines.web.locations import root_link
from preprocessing.orchestration.chosen_settings import changes_between, read_chosen
from preprocessing.orchestration.reprocessing import (
    HeldBack,
    ReprocessingPlan,
    StaleBatch,
    plan_reprocessing,
    save_plan,
)
from preprocessing.orchestration.steps import PreprocessingSettings

ROWS_SHOWN: Final = 200  # in the UI; the file holds all
REPROCESSING_PLAN: Final = "reprocessing_plan"

reprocessing_plan: Final = AssetSpec(
    REPROCESSING_PLAN,
    group_name="operations",
    kinds={"json"},
    owners=["team:data"],
    description="Batches that are stale: other code, labeller or settings, changed inputs, missing or "
    "damaged files. The job `reprocess_stale` makes it and the sensor `planned_batches` runs the stale steps "
    "and the steps downstream, a few batches at a time. With `dry_run` nothing is started, and a plan in "
    "progress continues.",
)


class ReprocessingPlanConfig(Config):
    """Which batches to examine, and whether to start their runs."""

    dry_run: bool = Field(
        default=False, description="List stale batches only; otherwise the sensor planned_batches starts them"
    )
    batches: list[str] = Field(default=[], description="Batches to examine; empty: all")
    settings: dict[str, Any] = Field(
        default={},
        description="Settings by name, such as clips.minimum_sharpness: 10, angles in rad. They count as "
        "written, also the deployment's value, which takes a batch's own setting back; of the resource "
        "preprocessing only what differs from the deployment's counts",
    )


@op(out=Out(Nothing), tags={"kind": "json"}, description="List stale batches; start their runs unless dry.")
def plan_reprocessing_op(
    context: OpExecutionContext,
    config: ReprocessingPlanConfig,
    workspace: WorkspaceResource,
    preprocessing: PreprocessingResource,
) -> None:
    """Examine the batches and save the plan, with the settings of the launchpad that its runs are given."""
    with guarded_step(context):
        root, settings = workspace.open(), deployed(PreprocessingSettings)
        changes = {**changes_between(settings, preprocessing.to_settings()), **config.settings}
        plan = plan_reprocessing(root, settings, config.batches, changes=changes)
        path = save_plan(root, context.run.run_id, plan, changes, dry_run=config.dry_run)
    estimate = {} if plan.seconds is None else {"estimated seconds": round(plan.seconds, 1)}
    metadata = {
        "next": _next(plan, dry_run=config.dry_run),
        "stale batches": len(plan.stale),
        "batches examined": plan.batches,
        "steps to run": sum(len(batch.steps) for batch in plan.stale),
        **estimate,
        "settings of this plan": changes_text(changes) or "those that count for each batch",
        "settings that count": MetadataValue.md(chosen_text(read_chosen(root))),
        "stale": MetadataValue.md(stale_table(plan.stale[:ROWS_SHOWN])),
        "held back": MetadataValue.md(held_back_table(plan.held_back[:ROWS_SHOWN])),
        "plan": root_link(root, path),
    }
    context.log.info("%s: %d stale of %d batches", metadata["next"], len(plan.stale), plan.batches)
    context.log_event(AssetMaterialization(REPROCESSING_PLAN, metadata=metadata))


@job(
    name="reprocess_stale",
    description="List stale batches and rebuild them; with dry_run only list them. Changed settings of the "
    "resource preprocessing hold for the batches that it rebuilds, also at night.",
)
def reprocess_job() -> None:
    """A job with one op."""
    plan_reprocessing_op.alias(REPROCESSING_PLAN)()


def _next(plan: ReprocessingPlan, *, dry_run: bool) -> str:
    if not plan.stale:
        return "nothing to do: all batches are up to date"
    return "dry run: nothing is started" if dry_run else "the sensor planned_batches starts these batches"


def stale_table(stale: tuple[StaleBatch, ...]) -> str:
    """Markdown table of stale batches."""
    rows = [
        f"| {batch.batch} | {batch.why} | {', '.join(batch.steps)} | {duration(batch.seconds)} |"
        for batch in stale
    ]
    return (
        "\n".join(["| batch | reason | steps | estimated |", "|---|---|---|---:|", *rows]) if rows else "none"
    )


def held_back_table(held: tuple[HeldBack, ...]) -> str:
    """Markdown table of batches with missing videos."""
    rows = [
        f"| {batch.batch} | {batch.reason} | {batch.missing_videos} of {batch.videos} |" for batch in held
    ]
    head = ["| batch | why face_tracks is stale | missing videos |", "|---|---|---:|"]
    return "\n".join([*head, *rows]) if rows else "none"
