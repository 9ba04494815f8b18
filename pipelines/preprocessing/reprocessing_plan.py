"""The asset `reprocessing_plan`: which batches must be made again, why, and about how long that takes."""

from typing import Final

from dagster import AssetExecutionContext, Config, MetadataValue, asset
from pydantic import Field

from pipelines.materialised import Materialised
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


class ReprocessingOrder(Config):
    """What to look at, and whether to act on it."""

    dry_run: bool = Field(
        default=False, description="Only list what is stale; otherwise the sensor planned_batches starts it"
    )
    batches: list[str] = Field(default=[], description="Batches to look at; empty: all")


@asset(group_name="operations", kinds={"json"}, owners=["team:data"])
def reprocessing_plan(
    context: AssetExecutionContext,
    config: ReprocessingOrder,
    workspace: WorkspaceResource,
    preprocessing: PreprocessingResource,
) -> Materialised:
    """Batches whose fingerprint no longer fits: code or labeller version, settings, changed or missing files.

    The sensor `planned_batches` starts exactly the stale steps of these batches and those that read them, a
    few batches at a time. With `dry_run` nothing is started, and a plan that is being carried out goes on.
    """
    with retry_transient_errors(context):
        root = workspace.open()
        settings = preprocessing.to_settings()
        plan = plan_reprocessing(root, settings, config.batches)
        path = save_plan(root, context.run.run_id, plan, dry_run=config.dry_run)
    estimate = {} if plan.seconds is None else {"estimated seconds": round(plan.seconds, 1)}
    return Materialised(
        metadata={
            "what happens": _what_happens(plan, dry_run=config.dry_run),
            "stale batches": len(plan.stale),
            "batches looked at": plan.batches,
            "steps to run": sum(len(batch.steps) for batch in plan.stale),
            **estimate,
            "stale": MetadataValue.md(stale_table(plan.stale[:ROWS_SHOWN])),
            "held back": MetadataValue.md(held_back_table(plan.held_back[:ROWS_SHOWN])),
            "plan": MetadataValue.path(str(path)),
        }
    )


def _what_happens(plan: ReprocessingPlan, *, dry_run: bool) -> str:
    if not plan.stale:
        return "nothing to do: every batch is up to date"
    return "dry run: nothing is started" if dry_run else "the sensor planned_batches starts these batches"


def stale_table(stale: tuple[StaleBatch, ...]) -> str:
    """Markdown: a row a batch."""
    rows = [
        f"| {batch.batch} | {batch.why} | {', '.join(batch.steps)} | {duration(batch.seconds)} |"
        for batch in stale
    ]
    return "\n".join(["| batch | why | runs | about |", "|---|---|---|---:|", *rows]) if rows else "none"


def held_back_table(held: tuple[HeldBack, ...]) -> str:
    """Markdown: a row a batch whose videos are not all there."""
    rows = [f"| {one.batch} | {one.reason} | {one.missing_videos} of {one.videos} |" for one in held]
    head = ["| batch | face_tracks stale because | videos missing |", "|---|---|---:|"]
    return "\n".join([*head, *rows]) if rows else "none"


def duration(seconds: float | None) -> str:
    """Seconds as people read them; a step that was never measured has none."""
    if seconds is None:
        return "not measured yet"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
