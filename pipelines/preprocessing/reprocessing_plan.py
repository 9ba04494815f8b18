"""The asset `reprocessing_plan`: stale batches with the reasons and the estimated time."""

from typing import Final

from dagster import AssetExecutionContext, Config, MetadataValue, asset
from pydantic import Field

from pipelines.metadata import AssetResult
from pipelines.operations.retries import retry_transient_errors
from pipelines.resources import PreprocessingResource, WorkspaceResource
from preprocessing.orchestration.reprocessing import (
    HeldBack,
    ReprocessingPlan,
    StaleBatch,
    plan_reprocessing,
    save_plan,
)

ROWS_SHOWN: Final = 200  # in the UI; the file holds all


class ReprocessingPlanConfig(Config):
    """Which batches to examine, and whether to start their runs."""

    dry_run: bool = Field(
        default=False, description="List stale batches only; otherwise the sensor planned_batches starts them"
    )
    batches: list[str] = Field(default=[], description="Batches to examine; empty: all")


@asset(group_name="operations", kinds={"json"}, owners=["team:data"])
def reprocessing_plan(
    context: AssetExecutionContext,
    config: ReprocessingPlanConfig,
    workspace: WorkspaceResource,
    preprocessing: PreprocessingResource,
) -> AssetResult:
    """Batches that are stale: other code, labeller or settings, changed inputs, missing or damaged files.

    The sensor `planned_batches` runs the stale steps and the steps downstream, a few batches at a time. With
    `dry_run` nothing is started, and a plan in progress continues.
    """
    with retry_transient_errors(context):
        root = workspace.open()
        settings = preprocessing.to_settings()
        plan = plan_reprocessing(root, settings, config.batches)
        path = save_plan(root, context.run.run_id, plan, dry_run=config.dry_run)
    estimate = {} if plan.seconds is None else {"estimated seconds": round(plan.seconds, 1)}
    return AssetResult(
        metadata={
            "next": _next(plan, dry_run=config.dry_run),
            "stale batches": len(plan.stale),
            "batches examined": plan.batches,
            "steps to run": sum(len(batch.steps) for batch in plan.stale),
            **estimate,
            "stale": MetadataValue.md(stale_table(plan.stale[:ROWS_SHOWN])),
            "held back": MetadataValue.md(held_back_table(plan.held_back[:ROWS_SHOWN])),
            "plan": MetadataValue.path(str(path)),
        }
    )


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


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours; None has never been measured."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
