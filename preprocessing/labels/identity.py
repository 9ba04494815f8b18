"""The step `identity_embeddings`: who is seen in each clip of a batch, by a face recognition network.

Off by default: it belongs to no job and to no plan, and nothing is built on it but `identity_report`, which
looks for identities that are mixed up. It runs outside weights.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.clips.store import read_clips
from preprocessing.labellers.identity_insightface import NAME, VERSION, FaceEmbedder
from preprocessing.labellers.weights import (
    LabellerWeights,
    WantedWeights,
    labeller_name,
    weights_of,
    write_who_labelled,
)
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from storage.settings import Settings

STEP: Final = "identity_embeddings"
CODE_VERSION: Final = f"1+{labeller_name(NAME, VERSION)}"
EMBEDDINGS_TABLE: Final = "identity_embeddings.parquet"
EMBEDDINGS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("identity", pa.string(), "who the clip is said to show"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("frames", pa.list_(pa.int32()), "frames that were looked at"),
    column("cosines", pa.list_(pa.float32()), "of each with the frame that is most like all others, -1 to 1"),
    column("embedding", pa.list_(pa.float32()), "mean of the frames', of length one"),
)


class IdentitySettings(Settings):
    """How a clip's identity is looked at."""

    frames_per_clip: int = Field(default=8, ge=1, le=64, description="Frames sampled evenly from each clip")
    weights: str = Field(
        default="",
        description="Pretrained weights of the network: a name of `pdfgc weights`, or a path; empty: "
        "buffalo_l",
    )


def wanted_weights(settings: IdentitySettings) -> WantedWeights:
    """What the step runs."""
    return WantedWeights(settings.weights or "buffalo_l", "insightface_weights")


def make_identity_embeddings(
    clips: Path, settings: IdentitySettings, folder: Path, weights: LabellerWeights | None
) -> BuildReport:
    """Embed every clip of a batch.

    Args:
        clips: folder of the step `clips`.
        settings: how many frames.
        folder: where the table is written.
        weights: the recognition network.

    Raises:
        ValueError: there are no weights, or the file is no recognition network.
    """
    file = weights_of(STEP, NAME, weights)
    embedder = FaceEmbedder(file.path)
    rows: list[dict[str, Any]] = []
    for clip in read_clips(clips):
        count = min(settings.frames_per_clip, clip.frame_count)
        frames = np.linspace(0, clip.frame_count - 1, count).round().astype(int).tolist()
        found = embedder.embed(clip, frames)
        rows.append(
            {
                "key": clip.key,
                "identity": clip.identity,
                "video_id": clip.source.video_id,
                "frames": frames,
                "cosines": cosines_with_middle(found),
                "embedding": unit(found.mean(axis=0)),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows, schema=EMBEDDINGS_SCHEMA), folder / EMBEDDINGS_TABLE)
    write_who_labelled(folder, {"identity": labeller_name(NAME, VERSION, file)}, file)
    frames_seen = sum(len(row["frames"]) for row in rows)
    return BuildReport(counts={"clips": len(rows), "frames": frames_seen}, refusals={})


def cosines_with_middle(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N] cosines of frames [N, D] of length one with the one that is most like all others.

    With the mean they would say little: of a clip that shows two people half the time each, every frame lies
    45° from the mean.
    """
    cosines = embeddings @ embeddings.T
    return cosines[int(np.argmax(np.median(cosines, axis=1)))]


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """[D] of length one; a vector of length zero stays."""
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
