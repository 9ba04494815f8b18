"""The job `adopt_settings`: which settings of preprocessing count for all batches."""

from typing import Any, Final

from dagster import Config, MetadataValue, Nothing, OpExecutionContext, Out, job, op
from pydantic import Field
from upath import UPath

from pipelines.deployed_settings import deployed
from pipelines.metadata import changes_text
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.resources import PreprocessingResource, WorkspaceResource
from preprocessing.orchestration.chosen_settings import (
    Changes,
    ChosenSettings,
    adopt,
    apply_changes,
    changes_between,
    read_chosen,
)
from preprocessing.orchestration.reprocessing import read_saved_plan
from preprocessing.orchestration.steps import PreprocessingSettings

ROWS_SHOWN: Final = 200


class AdoptSettingsConfig(Config):
    """Which settings count for all batches from now on."""

    note: str = Field(default="", description="Why; shown in the history")
    settings: dict[str, Any] = Field(
        default={},
        description="Settings by name, such as clips.minimum_sharpness: 10, angles in rad, in addition to "
        "those adopted before; the deployment's value takes one back",
    )
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
        form = changes_between(settings, preprocessing.to_settings())
        chosen = adopt(root, _adopted(root, settings, form, config), context.run.run_id, config.note)
    changes = {} if chosen.adopted is None else chosen.adopted.changes
    context.log.info("Settings that count for all batches: %s", changes_text(changes) or "the deployment's")
    context.add_output_metadata({"settings that count": MetadataValue.md(chosen_text(chosen))})


def _adopted(
    root: UPath, deployed_settings: PreprocessingSettings, form: Changes, config: AdoptSettingsConfig
) -> Changes:
    """What differs from the deployment's settings from now on.

    Raises:
        ValueError: nothing was changed, or a setting is not one or out of its bounds.
    """
    if config.forget:
        return {}
    if config.settings:
        before = read_chosen(root).adopted
        named = {**({} if before is None else before.changes), **form, **config.settings}
        return changes_between(deployed_settings, apply_changes(deployed_settings, named))
    plan = None if form else read_saved_plan(root)
    changes = form if plan is None else plan.changes
    if not changes:
        raise ValueError(
            "nothing to adopt: change settings of the resource preprocessing in the launchpad, or "
            "set forget to return to the deployment's settings"
        )
    return changes


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
