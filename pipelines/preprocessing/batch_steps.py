"""The assets `face_tracks` to `shards`: one per batch step of preprocessing."""

from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DataVersion,
    asset,
)

from pipelines.checks import check_specs, run_checks
from pipelines.deployed_settings import deployed
from pipelines.forms import SettingsConfig, config_class
from pipelines.metadata import (
    AssetResult,
    build_reason,
    column_schema,
    published_metadata,
    settings_metadata,
)
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.partitions import batches
from pipelines.preprocessing.batch_builds import BatchBuilds
from pipelines.preprocessing.batch_runs import tagged_settings
from pipelines.preprocessing.checks import STEP_CHECKS
from pipelines.preprocessing.pictures import step_pictures
from pipelines.preprocessing.source_videos import source_videos
from pipelines.resources import WorkspaceResource
from pipelines.web.locations import gallery_link
from preprocessing.orchestration.chosen_settings import changes_between, keep_for_batch, read_chosen
from preprocessing.orchestration.refusals import refusals_of_build
from preprocessing.orchestration.steps import (
    OPTIONAL_STEPS,
    STEPS,
    PreprocessingSettings,
    run_step,
    step_named,
    step_settings,
)
from preprocessing.sources.stored_catalog import load_batch
from storage.fingerprint import JsonValue
from storage.printable import display_text


def _step_asset(name: str) -> AssetsDefinition:
    step = step_named(name)
    usual = step_settings(step, deployed(PreprocessingSettings))
    form = config_class(type(usual), usual, degrees=True)

    @asset(
        name=name,
        deps=list(step.upstream) or [source_videos],
        partitions_def=batches,
        group_name=step.group,
        kinds=set(step.kinds),
        owners=["team:data"],
        code_version=step.full_code_version(usual),
        check_specs=check_specs(name, STEP_CHECKS.get(name, ())),
        description=step.description,
        metadata={"columns": column_schema(step.columns)},
    )
    def step_asset(
        context: AssetExecutionContext,
        workspace: WorkspaceResource,
        config: form,  # pyright: ignore[reportInvalidTypeForm]  # made from the step's settings
    ) -> AssetResult:
        with guarded_step(context):
            root, key = workspace.open(), context.partition_key
            deployed_settings = deployed(PreprocessingSettings)
            changes = {**_form_changes(name, config), **tagged_settings(context.run.tags)}
            settings = read_chosen(root).of(key, deployed_settings, changes)
            batch = load_batch(root, key)
            published = run_step(
                root,
                name,
                batch,
                settings,
                force=workspace.force,
                retry=workspace.retry,
                workers=workspace.worker_count(),
            )
            if changes:
                keep_for_batch(root, key, changes, context.run.run_id, deployed_settings)
        context.log.info("%s", build_reason(published))
        builds = BatchBuilds(root, key, settings)
        return AssetResult(
            metadata=step_pictures(builds, name)
            | {
                "gallery": gallery_link("anchors" if name == "eye_anchors" else "clips", batch=key),
                "batch": display_text(batch.title),
            }
            | published_metadata(published, refusals_of_build(root, published))
            | settings_metadata(changes_between(deployed_settings, settings)),
            check_results=run_checks(STEP_CHECKS.get(name, ()), builds),
            data_version=DataVersion(published.manifest.content_digest),
        )

    return step_asset


def _form_changes(name: str, form: SettingsConfig[Any]) -> dict[str, JsonValue]:
    """What a step's form changes of the deployment's settings, by dotted name."""
    usual = step_settings(step_named(name), deployed(PreprocessingSettings))
    return {f"{name}.{key}": value for key, value in changes_between(usual, form.to_settings()).items()}


step_assets: Final = [_step_asset(name) for name in STEPS]
optional_step_assets: Final = [_step_asset(name) for name in OPTIONAL_STEPS]
"""In no job and no reprocessing plan; materialized by hand."""
