"""The step `lip_sync_scores`: does the sound of each clip go with its lips, and how late is it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.clip_store import read_clips
from preprocessing.labellers import lip_sync_energy, mouth_opening
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport

LABELLER: Final = f"{lip_sync_energy.NAME} {lip_sync_energy.VERSION}"
CODE_VERSION: Final = f"1+{LABELLER}+{mouth_opening.NAME} {mouth_opening.VERSION}"
SCORES_TABLE: Final = "lip_sync.parquet"
SCORES_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("scorer", pa.string(), "what scored; figures of different scorers never share a column"),
    column("confidence", pa.float64(), "highest correlation less the median over shifts; null: not scored"),
    column("offset_frames", pa.float64(), "shift of the highest; positive: the sound comes late"),
    column("correlation", pa.float64(), "the highest correlation"),
)


@dataclass(frozen=True)
class LipSyncScoreSettings:
    """How the scores are made."""

    energy: lip_sync_energy.LipSyncSettings = field(default_factory=lip_sync_energy.LipSyncSettings)


def make_lip_sync_scores(clips: Path, settings: LipSyncScoreSettings, folder: Path) -> BuildReport:
    """Score a batch's clips; a clip that cannot be scored is a row without figures.

    Args:
        clips: folder of the step `clips`.
        settings: of the scorer.
        folder: where the table is written.
    """
    rows: list[dict[str, Any]] = []
    for clip in read_clips(clips):
        opening = mouth_opening.measure_mouth_opening(clip.landmarks_px)
        scores = lip_sync_energy.score_lip_sync(opening, clip.sound, settings.energy)
        rows.append({"key": clip.key, "video_id": clip.source.video_id, "scorer": LABELLER, **scores})
    pq.write_table(pa.Table.from_pylist(rows, schema=SCORES_SCHEMA), folder / SCORES_TABLE)
    scored = [row for row in rows if "confidence" in row]
    refusals = Counter("not_scored" for _ in range(len(rows) - len(scored)))
    return BuildReport(counts={"clips": len(rows), "scored": len(scored)}, refusals=dict(refusals))


def read_lip_sync(folder: Path) -> dict[str, dict[str, float]]:
    """Scores by clip key; {} where a clip was not scored."""
    names = ("confidence", "offset_frames", "correlation")
    rows = pq.read_table(folder / SCORES_TABLE, schema=SCORES_SCHEMA).to_pylist()
    return {row["key"]: {name: row[name] for name in names if row["confidence"] is not None} for row in rows}
