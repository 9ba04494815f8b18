"""The job `adopt_settings`: which settings of preprocessing count for all batches."""

from typing import Final

from dagster import Config, MetadataValue, Nothing, OpExecutionContext, Out, job, op
from pydantic import Field

from pipelines.deployed_settings import deployed
from pipelines.metadata import changes_text
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.resources import PreprocessingResource, WorkspaceResource
from preprocessing.orchestration.chosen_settings import ChosenSettings, adopt, changes_between
from preprocessing.orchestration.reprocessing import read_saved_plan
from preprocessing.orchestration.steps import PreprocessingSettings

ROWS_SHOWN: Final = 200


class AdoptSettingsConfig(Config):
    """Which settings count for all batches from now on."""

    note: str = Field(default="", description="Why; shown in the history")
    forget: bool = Field(
        default=False, description="Return to the deployment's settings, for all batches; adopt nothing"
    )


@op(out=Out(Nothing), tags={"kind": "json"}, description="Let changed settings count for all batches.")
def adopt_settings_op(
    context: OpExecutionContext,
    config: AdoptSettingsConfig,
    workspace: WorkspaceResource,
    preprocessing: PreprocessingResource,
) -> None:
    """Adopt the changed settings of the launchpad; if there are none, those of the last plan."""
    with guarded_step(context):
        root, settings = workspace.open(), deployed(PreprocessingSettings)
        changes = {} if config.forget else dict(changes_between(settings, preprocessing.to_settings()))
        if not changes and not config.forget:
            plan = read_saved_plan(root)
            changes = {} if plan is None else dict(plan.changes)
            if not changes:
                raise ValueError(
                    "nothing to adopt: change settings of the resource preprocessing in the launchpad, or "
                    "set forget to return to the deployment's settings"
                )
        chosen = adopt(root, changes, context.run.run_id, config.note)
    context.log.info("Settings that count for all batches: %s", changes_text(changes) or "the deployment's")
    context.add_output_metadata({"settings that count": MetadataValue.md(chosen_text(chosen))})


@job(
    name="adopt_settings",
    description="Let changed settings of preprocessing count for all batches, also in sensors, schedules and "
    "commands: those changed in the launchpad, else those of the last reprocessing plan.",
)
def adopt_settings_job() -> None:
    """A job with one op."""
    adopt_settings_op.alias("adopt_settings")()


def chosen_text(chosen: ChosenSettings) -> str:
    """Markdown list of the settings that count instead of the deployment's, and who chose them."""
    lines = []
    if chosen.adopted is not None:
        note = f", {chosen.adopted.note}" if chosen.adopted.note else ""
        lines.append(
            f"- all batches: {changes_text(chosen.adopted.changes)} (adopted {chosen.adopted.at}{note})"
        )
    lines += [
        f"- {batch}: {changes_text(choice.changes)} (run {choice.run[:8]}, {choice.at})"
        for batch, choice in [*chosen.batches.items()][:ROWS_SHOWN]
    ]
    return "\n".join(lines) or "those of the deployment"
