"""The assets `face_tracks` to `shards`: one per batch step of preprocessing."""

from typing import Final

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DataVersion,
    asset,
)

from pipelines.checks import check_specs, run_checks
from pipelines.deployed_settings import deployed
from pipelines.metadata import AssetResult, build_reason, column_schema, published_metadata
from pipelines.operations.retries import retry_transient_errors
from pipelines.partitions import batches
from pipelines.preprocessing.batch_builds import BatchBuilds
from pipelines.preprocessing.checks import STEP_CHECKS
from pipelines.preprocessing.pictures import step_pictures
from pipelines.preprocessing.source_videos import source_videos
from pipelines.resources import PreprocessingResource, WorkspaceResource
from preprocessing.orchestration.steps import (
    OPTIONAL_STEPS,
    STEPS,
    PreprocessingSettings,
    run_step,
    step_named,
    step_settings,
)
from preprocessing.sources.stored_catalog import load_batch


def _step_asset(name: str) -> AssetsDefinition:
    step = step_named(name)

    @asset(
        name=name,
        deps=list(step.upstream) or [source_videos],
        partitions_def=batches,
        group_name=step.group,
        kinds=set(step.kinds),
        owners=["team:data"],
        code_version=step.full_code_version(step_settings(step, deployed(PreprocessingSettings))),
        check_specs=check_specs(name, STEP_CHECKS.get(name, ())),
        description=step.description,
        metadata={"dagster/column_schema": column_schema(step.columns)},
    )
    def step_asset(
        context: AssetExecutionContext, workspace: WorkspaceResource, preprocessing: PreprocessingResource
    ) -> AssetResult:
        root, key = workspace.open(), context.partition_key
        settings = preprocessing.to_settings()
        with retry_transient_errors(context):
            published = run_step(
                root,
                name,
                load_batch(root, key),
                settings,
                force=workspace.force,
                retry=workspace.retry,
                workers=workspace.worker_count(),
            )
        context.log.info("%s", build_reason(published))
        builds = BatchBuilds(root, key, settings)
        # Separately, because Dagster stores the metadata of a result twice (also with the step's output).
        context.add_asset_metadata(step_pictures(builds, name))
        return AssetResult(
            metadata=published_metadata(published),
            check_results=run_checks(STEP_CHECKS.get(name, ()), builds),
            data_version=DataVersion(published.manifest.content_digest),
        )

    return step_asset


step_assets: Final = [_step_asset(name) for name in STEPS]
optional_step_assets: Final = [_step_asset(name) for name in OPTIONAL_STEPS]
"""In no job and no reprocessing plan; materialized by hand."""
