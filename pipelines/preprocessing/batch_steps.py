"""The assets of a batch, `face_tracks` to `shards`: one for each batch step of preprocessing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DataVersion,
    asset,
)

from pipelines.checks import check_specs, run_checks
from pipelines.deployed_settings import deployed
from pipelines.materialised import Materialised
from pipelines.metadata import published_metadata, what_happened
from pipelines.operations.retries import retry_transient_errors
from pipelines.partitions import batches
from pipelines.preprocessing.checks import STEP_CHECKS, BatchBuilds
from pipelines.preprocessing.labeller_weights import labeller_weights
from pipelines.preprocessing.pictures import step_pictures
from pipelines.preprocessing.source_videos import source_videos
from pipelines.resources import PreprocessingResource, WorkspaceResource
from pipelines.table_columns import column_schema
from preprocessing.anchors.eye_anchors import ANCHORS_SCHEMA
from preprocessing.clips.store import CLIPS_SCHEMA
from preprocessing.dataset.packing import INDEX_SCHEMA
from preprocessing.faces.face_tracks import CANDIDATES_SCHEMA
from preprocessing.labels.lip_sync import SCORES_SCHEMA
from preprocessing.labels.tables import GAZE_SCHEMA, POSE_SCHEMA
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.sources.stored_catalog import load_batch


@dataclass(frozen=True)
class _Face:
    """How a step looks in the UI."""

    group: str
    kinds: frozenset[str]
    columns: pa.Schema
    description: str


FACES: Final[Mapping[str, _Face]] = {
    "face_tracks": _Face(
        "preprocessing",
        frozenset({"mediapipe", "opencv"}),
        CANDIDATES_SCHEMA,
        "One decode of every video of the batch: 25 fps, shot cuts, every face tracked with 478 landmarks, "
        "aligned candidate clips and the 16 kHz sound beside them.",
    ),
    "clips": _Face(
        "preprocessing",
        frozenset({"webdataset", "parquet"}),
        CLIPS_SCHEMA,
        "Candidates that pass every threshold, with their sound cut to the sample. Every refusal is a row "
        "with its reason and score. Reads no video: changing a threshold is cheap.",
    ),
    "pose_labels": _Face(
        "labels",
        frozenset({"numpy", "parquet"}),
        POSE_SCHEMA,
        "Head pitch, yaw, roll and place of every frame, in the crop camera's frame of reference.",
    ),
    "gaze_labels": _Face(
        "labels",
        frozenset({"numpy", "parquet"}),
        GAZE_SCHEMA,
        "Gaze in head coordinates, and blink of either eye against the person's own open eye.",
    ),
    "lip_sync_scores": _Face(
        "labels",
        frozenset({"numpy", "parquet"}),
        SCORES_SCHEMA,
        "Whether the sound goes with the lips and how late it is, by mouth opening against loudness.",
    ),
    "eye_anchors": _Face(
        "labels",
        frozenset({"mediapipe", "opencv"}),
        ANCHORS_SCHEMA,
        "The eyes of one person put into another's face, measured and kept only where gaze and blink are "
        "the giver's and the rest is the taker's.",
    ),
    "shards": _Face(
        "dataset",
        frozenset({"webdataset"}),
        INDEX_SCHEMA,
        "WebDataset tars for training, byte-identical whenever they are made again.",
    ),
}


def _step_asset(name: str) -> AssetsDefinition:
    face = FACES[name]

    @asset(
        name=name,
        deps=list(STEPS[name].upstream) or [source_videos],
        partitions_def=batches,
        group_name=face.group,
        kinds=set(face.kinds),
        owners=["team:data"],
        code_version=STEPS[name].code_version(deployed(PreprocessingSettings)),
        check_specs=check_specs(name, STEP_CHECKS.get(name, ())),
        description=face.description,
        metadata={"dagster/column_schema": column_schema(face.columns)},
    )
    def step(
        context: AssetExecutionContext, workspace: WorkspaceResource, preprocessing: PreprocessingResource
    ) -> Materialised:
        root, key = workspace.open(), context.partition_key
        settings = preprocessing.to_settings()
        with retry_transient_errors(context):
            published = run_step(
                root,
                name,
                load_batch(root, key),
                settings,
                force=workspace.force,
                workers=workspace.worker_count(),
                progress=context.log.info,
                weights=labeller_weights(settings, [name]).get(name),
            )
        context.log.info("%s", what_happened(published))
        # Apart from the rest: Dagster keeps a result's metadata twice, with the step's output as well.
        context.add_asset_metadata(step_pictures(root, name, key, settings))
        return Materialised(
            metadata=published_metadata(published),
            check_results=run_checks(STEP_CHECKS.get(name, ()), BatchBuilds(root, key, settings)),
            data_version=DataVersion(published.manifest.content_digest),
        )

    return step


step_assets: Final = [_step_asset(name) for name in STEPS]
