"""The assets of evaluation: the generated videos of a run, and their measurements."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DataVersion,
    MetadataValue,
    asset,
)
from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.generation.files import CONTACT_SHEET, GENERATED_VIDEOS
from evaluation.generation.generate import run_generated_videos
from evaluation.records import RECORDS_TABLE, SCHEMA, MetricRecord, read_records
from evaluation.report.summary import markdown_tables
from evaluation.suites.control import CONTROL_EVALUATION, MATRIX_TABLE, run_control_evaluation
from evaluation.suites.lip_sync import LIP_SYNC_EVALUATION, run_lip_sync_evaluation
from evaluation.suites.quality import QUALITY_EVALUATION, run_quality_evaluation
from pipelines.checks import check_specs, run_checks
from pipelines.evaluation.checks import RECORDS_CHECKS, VIDEO_CHECKS
from pipelines.metadata import AssetResult, column_schema, published_metadata
from pipelines.operations.automation import after_any_of
from pipelines.operations.instance import GPU_POOL
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.partitions import training_runs
from pipelines.preprocessing.dataset import dataset
from pipelines.resources import EvaluationResource, WorkspaceResource
from pipelines.training.assets import stage_assets
from pipelines.web.locations import build_location, picture_at
from storage.publishing import Published
from storage.root import local_copy
from training.stage_catalog import RENDERING_STAGE, STAGE_NAMES

Measure = Callable[[UPath, EvaluationConfig, WorkspaceResource], Published]
LIP_STAGE: Final = stage_assets[STAGE_NAMES.index("stage2_lip")]


@asset(
    name=GENERATED_VIDEOS,
    deps=[dataset, RENDERING_STAGE],
    partitions_def=training_runs,
    group_name="evaluation",
    pool=GPU_POOL,
    kinds={"pytorch", "mp4"},
    owners=["team:evaluation"],
    check_specs=check_specs(GENERATED_VIDEOS, VIDEO_CHECKS),
    automation_condition=after_any_of(RENDERING_STAGE),
)
def generated_videos(
    context: AssetExecutionContext, workspace: WorkspaceResource, evaluation_config: EvaluationResource
) -> AssetResult:
    """Videos of a run, for portraits and drivers drawn from the data set with a seed.

    Self: a clip drives its own first frame. Cross: four clips of other identities drive lip, pose, eye and
    expression. Control: a self video with one driver replaced.
    """
    with guarded_step(context):
        root = workspace.open()
        config = evaluation_config.to_config(context.partition_key)
        published = run_generated_videos(root, config, force=workspace.force)
    return AssetResult(
        metadata={
            "run": config.run,
            "picture: videos and drivers": picture_at(build_location(published, CONTACT_SHEET)),
        }
        | published_metadata(published),
        check_results=run_checks(VIDEO_CHECKS, (root, config.run)),
        data_version=DataVersion(published.manifest.content_digest),
    )


@dataclass(frozen=True)
class _Evaluation:
    """An evaluation and how its asset is shown."""

    name: str
    deps: Sequence[AssetsDefinition]
    kinds: frozenset[str]
    measure: Measure
    description: str


def _evaluation_asset(evaluation: _Evaluation) -> AssetsDefinition:
    @asset(
        name=evaluation.name,
        deps=[generated_videos, *evaluation.deps],
        partitions_def=training_runs,
        group_name="evaluation",
        kinds=set(evaluation.kinds),
        owners=["team:evaluation"],
        check_specs=check_specs(evaluation.name, RECORDS_CHECKS[evaluation.name]),
        description=evaluation.description,
        automation_condition=after_any_of(GENERATED_VIDEOS),
        metadata={"columns": column_schema(SCHEMA)},
    )
    def evaluation_asset(
        context: AssetExecutionContext, workspace: WorkspaceResource, evaluation_config: EvaluationResource
    ) -> AssetResult:
        with guarded_step(context):
            root = workspace.open()
            config = evaluation_config.to_config(context.partition_key)
            published = evaluation.measure(root, config, workspace)
        folder = local_copy(published.directory)
        records = read_records(folder / RECORDS_TABLE)
        return AssetResult(
            metadata={"run": config.run, "means": MetadataValue.md(markdown_tables(records))}
            | published_metadata(published)
            | _missing(records),
            check_results=run_checks(RECORDS_CHECKS[evaluation.name], records),
            data_version=DataVersion(published.manifest.content_digest),
        )

    return evaluation_asset


def _missing(records: Sequence[MetricRecord]) -> dict[str, Any]:
    """Number of missing values, by reason."""
    reasons = Counter(record.missing_because for record in records if record.missing_because)
    if not reasons:
        return {}
    lines = [f"- {count}: {reason}" for reason, count in reasons.most_common()]
    return {"missing values by reason": MetadataValue.md("\n".join(lines))}


lip_sync_evaluation: Final = _evaluation_asset(
    _Evaluation(
        LIP_SYNC_EVALUATION,
        (LIP_STAGE,),
        frozenset({"pytorch", "parquet"}),
        lambda root, config, workspace: run_lip_sync_evaluation(root, config, force=workspace.force),
        "Lip sync: LSE-C, LSE-D and offset by each scorer, and NLSE-C relative to the ground truth.",
    )
)
control_evaluation: Final = _evaluation_asset(
    _Evaluation(
        CONTROL_EVALUATION,
        (),
        frozenset({"mediapipe", "parquet"}),
        lambda root, config, workspace: run_control_evaluation(
            root, config, workers=workspace.worker_count(), force=workspace.force
        ),
        "Errors of the controls against their drivers, and disentanglement: what each driver alone changes "
        f"({MATRIX_TABLE}).",
    )
)
quality_evaluation: Final = _evaluation_asset(
    _Evaluation(
        QUALITY_EVALUATION,
        (),
        frozenset({"pytorch", "parquet"}),
        lambda root, config, workspace: run_quality_evaluation(root, config, force=workspace.force),
        "Image quality and identity preservation.",
    )
)
evaluation_assets: Final = (generated_videos, lip_sync_evaluation, control_evaluation, quality_evaluation)
assert set(RECORDS_CHECKS) == {asset.key.to_user_string() for asset in evaluation_assets[1:]}
