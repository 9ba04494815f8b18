"""The step `identity_embeddings`: a face recognition network's embedding of each clip of a batch.

Optional: no job and no reprocessing plan runs it. `identity_report` reads it to find mixed-up identities.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.clips.store import read_clips
from preprocessing.labellers import identity_insightface
from preprocessing.labellers.backend import (
    Backend,
    BackendSettings,
    ClipLabeller,
    label_clips,
    write_labellers,
)
from preprocessing.labellers.failed_clips import FailedClips
from preprocessing.labellers.identity_insightface import ClipFrames
from preprocessing.orchestration.step import Step, StepRun
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from weights.resolve import ResolvedWeights

EMBEDDINGS_TABLE: Final = "identity_embeddings.parquet"
EMBEDDINGS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("identity", pa.string(), "identity of the clip in the catalog"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("frames", pa.list_(pa.int32()), "embedded frames"),
    column("cosines", pa.list_(pa.float32()), "of each frame with the most central frame, -1 to 1"),
    column("embedding", pa.list_(pa.float32()), "mean over frames, of length one"),
)

BACKENDS: Final[Mapping[str, Backend[ClipLabeller[ClipFrames, Any, NDArray[np.float32]]]]] = {
    "insightface": identity_insightface.BACKEND,
}
"""Embeddings [N, D] of length one, of N frames."""


class IdentitySettings(BackendSettings):
    """How clips are embedded."""

    backends: ClassVar = BACKENDS

    backend: str = Field(
        default="insightface", description="Face recognition", json_schema_extra={"enum": [*BACKENDS]}
    )
    frames_per_clip: int = Field(default=8, ge=1, le=64, description="Frames sampled evenly from each clip")


def make_identity_embeddings(
    clips: Path, settings: IdentitySettings, folder: Path, weights: ResolvedWeights | None
) -> BuildReport:
    """Embed every clip of a batch.

    Args:
        clips: folder of the step `clips`.
        settings: of the step.
        folder: where the table is written.
        weights: the recognition network.

    Raises:
        FileNotFoundError: the weights do not exist.
        ValueError: there are no weights, or the file is not a recognition network.
    """
    backend = BACKENDS[settings.backend]
    rows: list[dict[str, Any]] = []
    with closing(backend.open(settings, weights and weights.path)) as labeller:
        failed = FailedClips("Embedding the identity")
        for item, embeddings in label_clips(
            _clip_frames(clips, settings.frames_per_clip),
            labeller,
            lambda item, error: failed.add(item.clip.key, error),
        ):
            rows.append(
                {
                    "key": item.clip.key,
                    "identity": item.clip.identity,
                    "video_id": item.clip.source.video_id,
                    "frames": item.frames,
                    "cosines": cosines_with_central_frame(embeddings),
                    "embedding": unit(embeddings.mean(axis=0)),
                }
            )
    pq.write_table(pa.Table.from_pylist(rows, schema=EMBEDDINGS_SCHEMA), folder / EMBEDDINGS_TABLE)
    write_labellers(folder, {"identity": backend.labeller_name(weights)}, weights)
    frames = sum(len(row["frames"]) for row in rows)
    refusals = failed.finish(folder, len(rows))
    return BuildReport(counts={"clips": len(rows), "frames": frames}, refusals=refusals)


def _clip_frames(clips: Path, frames_per_clip: int) -> Iterator[ClipFrames]:
    for clip in read_clips(clips):
        count = min(frames_per_clip, clip.frame_count)
        yield ClipFrames(clip, np.linspace(0, clip.frame_count - 1, count).round().astype(int).tolist())


def cosines_with_central_frame(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines [N] of unit embeddings [N, D] with the one of the highest median cosine to all.

    Not with the mean: in a clip that shows two people half the time each, every frame is 45° from the mean.
    """
    cosines = embeddings @ embeddings.T
    return cosines[int(np.argmax(np.median(cosines, axis=1)))]


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """[D] scaled to length one; a zero vector is returned unchanged."""
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _build(run: StepRun[IdentitySettings]) -> BuildReport:
    return make_identity_embeddings(run.upstream["clips"], run.settings, run.folder, run.weights)


STEP: Final = Step(
    name="identity_embeddings",
    upstream=("clips",),
    settings=IdentitySettings,
    code_version="1",
    build=_build,
    description="An embedding of each clip by a face recognition network (`pdfgc weights fetch buffalo_l`).",
    group="identities",
    kinds=frozenset({"onnx", "parquet"}),
    columns=EMBEDDINGS_SCHEMA,
)
