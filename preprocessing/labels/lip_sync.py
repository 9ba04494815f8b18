"""The step `lip_sync_scores`: whether each clip's sound goes with its lips, and how late it is."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from preprocessing.clips.store import read_clips
from preprocessing.labellers.backend import (
    Backend,
    BackendSettings,
    ClipLabeller,
    label_clips,
    write_labellers,
)
from preprocessing.labellers.failed_clips import FailedClips
from preprocessing.labellers.lip_sync import canonical as lip_sync_canonical
from preprocessing.labellers.lip_sync import energy as lip_sync_energy
from preprocessing.labellers.lip_sync import mouth_opening
from preprocessing.labellers.lip_sync import syncnet as lip_sync_syncnet
from preprocessing.orchestration.step import Step, StepRun
from preprocessing.schema import Clip
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from weights.resolve import ResolvedWeights

SCORES_TABLE: Final = "lip_sync.parquet"
SCORES_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("scorer", pa.string(), "what scored; figures of different scorers never share a column"),
    column("confidence", pa.float64(), "highest correlation less the median over shifts; null: not scored"),
    column("offset_frames", pa.float64(), "shift of the highest; positive: the sound comes late"),
    column("correlation", pa.float64(), "the highest correlation"),
)
DISTANCES_SCHEMA: Final = table_schema(
    *(SCORES_SCHEMA.field(name) for name in ("key", "video_id", "scorer")),
    column("confidence", pa.float64(), "median distance over shifts minus the smallest; null: not scored"),
    column("offset_frames", pa.float64(), "shift of the smallest; positive: the sound is late"),
    column("correlation", pa.float64(), "always null: no correlation"),
    column("distance", pa.float64(), "the smallest distance"),
)
"""For backends that score a `distance` of embeddings."""
SCORE_NAMES: Final = ("confidence", "offset_frames", "correlation", "distance")

BACKENDS: Final[Mapping[str, Backend[ClipLabeller[Clip, Any, dict[str, float]]]]] = {
    "canonical": lip_sync_canonical.BACKEND,
    "energy": lip_sync_energy.BACKEND,
    "syncnet_v2": lip_sync_syncnet.BACKEND,
}
"""Scores of a clip by `SCORE_NAMES`, `confidence` and `offset_frames` at least; {} where it cannot be
scored."""


class LipSyncScoreSettings(BackendSettings):
    """How lip sync is scored."""

    backends: ClassVar = BACKENDS

    backend: str = Field(
        default="canonical", description="Lip sync scorer", json_schema_extra={"enum": [*BACKENDS]}
    )
    canonical: lip_sync_canonical.CanonicalSettings = lip_sync_canonical.CanonicalSettings()
    energy: lip_sync_energy.LipSyncSettings = lip_sync_energy.LipSyncSettings()


def make_lip_sync_scores(
    clips: Path, settings: LipSyncScoreSettings, folder: Path, weights: ResolvedWeights | None = None
) -> BuildReport:
    """Score a batch's clips; a clip that cannot be scored is a row without scores.

    Args:
        clips: folder of the step `clips`.
        settings: of the step.
        folder: where the table is written.
        weights: of the backend, where it needs any.

    Raises:
        FileNotFoundError: the weights do not exist.
        ValueError: the backend needs weights and got none, or the file is not what it runs.
    """
    backend = BACKENDS[settings.backend]
    scorer = backend.labeller_name(weights)
    with closing(backend.open(settings, weights and weights.path)) as labeller:
        failed = FailedClips("Scoring the lip sync")
        rows: list[dict[str, Any]] = [
            {"key": clip.key, "video_id": clip.source.video_id, "scorer": scorer, **scores}
            for clip, scores in label_clips(
                read_clips(clips), labeller, lambda clip, error: failed.add(clip.key, error)
            )
        ]
    schema = DISTANCES_SCHEMA if any("distance" in row for row in rows) else SCORES_SCHEMA
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / SCORES_TABLE)
    write_labellers(folder, {"lip_sync": scorer}, weights)
    scored = sum("confidence" in row for row in rows)
    refusals = failed.finish(folder, len(rows))
    refusals |= {"not_scored": len(rows) - scored} if scored < len(rows) else {}
    return BuildReport(counts={"clips": len(rows), "scored": scored}, refusals=refusals)


def read_lip_sync(folder: Path) -> dict[str, dict[str, float]]:
    """Scores by clip key; {} where a clip was not scored."""
    rows = pq.read_table(folder / SCORES_TABLE).to_pylist()
    return {
        row["key"]: {name: row[name] for name in SCORE_NAMES if row.get(name) is not None} for row in rows
    }


def _build(run: StepRun[LipSyncScoreSettings]) -> BuildReport:
    return make_lip_sync_scores(run.upstream["clips"], run.settings, run.folder, run.weights)


STEP: Final = Step(
    name="lip_sync_scores",
    upstream=("clips",),
    settings=LipSyncScoreSettings,
    code_version=f"1+{mouth_opening.NAME} {mouth_opening.VERSION}",
    build=_build,
    description="Whether the sound goes with the lips and how late it is, by mouth motion against mel bands.",
    group="labels",
    kinds=frozenset({"numpy", "parquet"}),
    columns=SCORES_SCHEMA,
)
