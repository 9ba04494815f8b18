"""The step `lip_sync_scores`: does the sound of each clip go with its lips, and how late is it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from preprocessing.clips.store import read_clips
from preprocessing.labellers import lip_sync_energy, lip_sync_syncnet, mouth_opening
from preprocessing.labellers.clip_network import ClipNetwork, label_clips
from preprocessing.labellers.weights import (
    LabellerWeights,
    WantedWeights,
    check_choice,
    labeller_name,
    weights_of,
    write_who_labelled,
)
from preprocessing.schema import Clip
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from storage.settings import Settings

LABELLER: Final = f"{lip_sync_energy.NAME} {lip_sync_energy.VERSION}"
STEP: Final = "lip_sync_scores"
BackendName = Literal["energy", "syncnet_v2"]
LipSyncNetwork = ClipNetwork[Any, dict[str, float]]
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
    column("confidence", pa.float64(), "median distance over shifts less the smallest; null: not scored"),
    column("offset_frames", pa.float64(), "shift of the smallest; positive: the sound comes late"),
    column("correlation", pa.float64(), "always null: the energy's"),
    column("distance", pa.float64(), "the smallest distance"),
)
"""Of backends that compare embeddings."""


class LipSyncScoreSettings(Settings):
    """How the scores are made."""

    energy: lip_sync_energy.LipSyncSettings = lip_sync_energy.LipSyncSettings()
    backend: BackendName = Field(
        default="energy", description="Lip sync scorer; syncnet_v2 needs pretrained weights"
    )
    weights: str = Field(
        default="",
        description="Pretrained weights of the backend: a name of `pdfgc weights`, or a path; empty: the "
        "backend's own name",
    )

    @model_validator(mode="after")
    def _check_backend(self) -> "LipSyncScoreSettings":
        check_choice(STEP, self.backend, self.weights, "energy", BACKENDS)
        return self


@dataclass(frozen=True)
class LipSyncBackend:
    """One way to score lip sync by distances of embeddings."""

    name: str
    version: str
    open: Callable[[Path], AbstractContextManager[LipSyncNetwork]]  # of its weights' file
    weights: str  # set of the list that it runs unless told otherwise
    takes: str  # what the list calls the setting


BACKENDS: Final[Mapping[str, LipSyncBackend]] = {
    "syncnet_v2": LipSyncBackend(
        lip_sync_syncnet.NAME,
        lip_sync_syncnet.VERSION,
        lip_sync_syncnet.open_backend,
        "syncnet_v2",
        "syncnet_weights",
    ),
}
"""Beside the default, `energy`, which needs landmarks and sound alone."""


def code_version(settings: LipSyncScoreSettings) -> str:
    """Of the step: its own and its backend's."""
    backend = BACKENDS.get(settings.backend)
    if backend is None:
        return f"1+{LABELLER}+{mouth_opening.NAME} {mouth_opening.VERSION}"
    return f"1+{labeller_name(backend.name, backend.version)}"


def recipe_settings(settings: LipSyncScoreSettings) -> dict[str, Any]:
    """Of all settings those that decide the scores; the default's are told without its name."""
    return {"backend": settings.backend} if settings.backend in BACKENDS else {"energy": settings.energy}


def wanted_weights(settings: LipSyncScoreSettings) -> WantedWeights | None:
    """What the backend runs; None for the default."""
    backend = BACKENDS.get(settings.backend)
    return None if backend is None else WantedWeights(settings.weights or backend.weights, backend.takes)


def make_lip_sync_scores(
    clips: Path, settings: LipSyncScoreSettings, folder: Path, weights: LabellerWeights | None = None
) -> BuildReport:
    """Score a batch's clips; a clip that cannot be scored is a row without figures.

    Args:
        clips: folder of the step `clips`.
        settings: of the scorer.
        folder: where the table is written.
        weights: that the backend runs; the default wants none.

    Raises:
        ValueError: the backend wants weights and has none, or the file is not what it runs.
    """
    backend = BACKENDS.get(settings.backend)
    if backend is None:
        by_energy = ((clip, _by_energy(clip, settings)) for clip in read_clips(clips))
        return _write(by_energy, LABELLER, SCORES_SCHEMA, folder)
    file = weights_of(STEP, settings.backend, weights)
    scorer = labeller_name(backend.name, backend.version, file)
    with backend.open(file.path) as network:
        report = _write(label_clips(read_clips(clips), network), scorer, DISTANCES_SCHEMA, folder)
    write_who_labelled(folder, {"lip_sync": scorer}, file)
    return report


def _by_energy(clip: Clip, settings: LipSyncScoreSettings) -> dict[str, float]:
    opening = mouth_opening.measure_mouth_opening(clip.landmarks_px)
    return lip_sync_energy.score_lip_sync(opening, clip.sound, settings.energy)


def _write(
    scored_clips: Iterable[tuple[Clip, dict[str, float]]], scorer: str, schema: pa.Schema, folder: Path
) -> BuildReport:
    rows: list[dict[str, Any]] = [
        {"key": clip.key, "video_id": clip.source.video_id, "scorer": scorer, **scores}
        for clip, scores in scored_clips
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / SCORES_TABLE)
    scored = [row for row in rows if "confidence" in row]
    refusals = Counter("not_scored" for _ in range(len(rows) - len(scored)))
    return BuildReport(counts={"clips": len(rows), "scored": len(scored)}, refusals=dict(refusals))


def read_lip_sync(folder: Path) -> dict[str, dict[str, float]]:
    """Scores by clip key; {} where a clip was not scored."""
    rows = pq.read_table(folder / SCORES_TABLE).to_pylist()
    names = ("confidence", "offset_frames", "correlation", "distance")
    return {row["key"]: {name: row[name] for name in names if row.get(name) is not None} for row in rows}
