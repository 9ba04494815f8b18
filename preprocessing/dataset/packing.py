"""The step `shards`: clips, labels and anchors of a batch become WebDataset tars for training."""

import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.anchors.eye_anchors import ANCHORS_TAR, read_anchor_rows
from preprocessing.archive import ArchiveWriter, Place, read_members, read_some_members
from preprocessing.audio import lip_sync_filter
from preprocessing.audio.lip_sync_filter import (
    LipSyncFilter,
    ScoredClip,
    judge_lip_sync,
    shift_anchors,
    shift_clip,
    shift_labels,
    write_verdicts,
)
from preprocessing.audio.sound_landmarks import LANDMARKS_TABLE
from preprocessing.clips.store import CLIPS_TAR, ClipRow, accepted_clips, read_clip
from preprocessing.labellers.backend import read_labellers
from preprocessing.labellers.failed_clips import FailedClips, read_failed
from preprocessing.labels.lip_sync import read_lip_sync
from preprocessing.labels.tables import (
    BLINK_NAMES,
    GAZE_NAMES,
    POSE_NAMES,
    read_blendshapes,
    read_coefficients,
    read_labels,
)
from preprocessing.orchestration.step import Step, StepRun
from preprocessing.schema import SCHEMA_VERSION, Clip, ClipLabels, ClipSample, EyeAnchor
from preprocessing.shards import encode_sample
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from storage.settings import Settings

CODE_VERSION: Final = f"3+schema{SCHEMA_VERSION}"
SHARD_INDEX_TABLE: Final = "index.parquet"
SHARD_INDEX_SCHEMA: Final = table_schema(
    column("key", pa.string(), "sample's key"),
    column("identity", pa.string(), "who is seen"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("frames", pa.int32(), "number of frames"),
    column("anchors", pa.int32(), "number of eye anchors"),
    column("shard", pa.string(), "file that holds the sample"),
    column("offset_bytes", pa.int64(), "where the sample begins in the shard"),
    column("size_bytes", pa.int64(), "bytes of the sample in the shard"),
)


class ShardSettings(Settings):
    """How samples are packed."""

    maximum_shard_mebibytes: int = Field(
        default=256, ge=1, description="Size at which a shard is closed, after the sample that reaches it"
    )
    lip_sync: LipSyncFilter = LipSyncFilter()


@dataclass(frozen=True)
class ShardInputs:
    """Folders of the upstream steps."""

    clips: Path
    pose_labels: Path
    gaze_labels: Path
    lip_sync_scores: Path
    eye_anchors: Path


def make_shards(
    batch: str, inputs: ShardInputs, labellers: Mapping[str, str], settings: ShardSettings, folder: Path
) -> BuildReport:
    """Pack a batch's samples.

    Args:
        batch: its key, in the shards' names: `<batch>-NNN.tar`.
        inputs: folders of the upstream steps.
        labellers: label -> labeller name, recorded in each sample.
        settings: of the step.
        folder: where the shards, the checksums of their blocks (`<shard>.crc32`) and `index.parquet` are
            written, and, where lip sync is filtered, `lip_sync_filter.parquet` with what became of each clip.
    """
    samples = _Samples(inputs, dict(labellers))
    scored = samples.scored()
    verdicts = judge_lip_sync(scored, settings.lip_sync)
    if settings.lip_sync.active:
        write_verdicts(scored, verdicts, folder)
    failed = FailedClips("Packing")
    failed.skip(read_failed(inputs.pose_labels) | read_failed(inputs.gaze_labels))
    rows: list[dict[str, Any]] = []
    writer: ArchiveWriter | None = None
    name, shards = "", 0
    with ExitStack() as last:
        for row in samples.rows:
            if verdicts[row.key].refusal or row.key in failed:
                continue
            samples.require_labels(row)
            with failed.caught(row.key):
                sample = samples.read(row, verdicts[row.key].shift_frames)
                encoded = encode_sample(sample)
            if row.key in failed:
                continue
            if writer is None:
                name, shards = f"{batch}-{shards:03d}.tar", shards + 1
                writer = last.enter_context(ArchiveWriter(folder / name, with_checksums=True))
            place = writer.write(row.key, encoded)
            rows.append(_index_row(sample, name, place))
            if writer.size_bytes >= settings.maximum_shard_mebibytes * 2**20:
                last.close()
                writer = None
    pq.write_table(pa.Table.from_pylist(rows, schema=SHARD_INDEX_SCHEMA), folder / SHARD_INDEX_TABLE)
    shutil.copyfile(inputs.clips / LANDMARKS_TABLE, folder / LANDMARKS_TABLE)
    counts: dict[str, int | float] = {
        "samples": len(rows),
        "frames": sum(row["frames"] for row in rows),
        "anchors": sum(row["anchors"] for row in rows),
        "identities": len({row["identity"] for row in rows}),
        "shards": shards,
        "bytes": sum((folder / shard).stat().st_size for shard in {row["shard"] for row in rows}),
    }
    if settings.lip_sync.active:
        counts["samples_with_shifted_sound"] = sum(verdict.shift_frames != 0 for verdict in verdicts.values())
    refusals = Counter(verdict.refusal for verdict in verdicts.values() if verdict.refusal)
    return BuildReport(counts=counts, refusals=dict(refusals) | failed.finish(folder, len(rows)))


def read_shard_index(folder: Path) -> pa.Table:
    """Read the index of a batch's samples, ordered by key."""
    return pq.read_table(folder / SHARD_INDEX_TABLE, schema=SHARD_INDEX_SCHEMA)


class _Samples:
    """Joins the files of the upstream steps clip by clip."""

    def __init__(self, inputs: ShardInputs, labellers: dict[str, str]) -> None:
        self._inputs = inputs
        self._labellers = labellers
        self._poses = read_labels(inputs.pose_labels, POSE_NAMES)
        self._coefficients = read_coefficients(inputs.pose_labels)
        self._blendshapes = read_blendshapes(inputs.pose_labels)
        self._gazes = read_labels(inputs.gaze_labels, GAZE_NAMES)
        self._blinks = read_labels(inputs.gaze_labels, BLINK_NAMES)
        self._lip_sync = read_lip_sync(inputs.lip_sync_scores)
        self.rows = accepted_clips(inputs.clips)
        self._row_of = {row.key: row for row in self.rows}
        self._anchors: dict[str, list[dict[str, Any]]] = {}
        for anchor in read_anchor_rows(inputs.eye_anchors):
            self._anchors.setdefault(anchor["key"], []).append(anchor)

    def scored(self) -> list[ScoredClip]:
        """The clips with their lip sync scores."""
        return [
            ScoredClip(row.key, row.video_id, row.frames, self._lip_sync.get(row.key, {}))
            for row in self.rows
        ]

    def require_labels(self, row: ClipRow) -> None:
        """Raise ValueError where a step that did not fail has no labels of a clip."""
        tables = {"pose_labels": (self._poses,), "gaze_labels": (self._gazes, self._blinks)}
        for step, labels in tables.items():
            if any(row.key not in each for each in labels):
                raise ValueError(f"{step} has no labels of clip {row.key}; build {step} again")

    def read(self, row: ClipRow, shift_frames: int) -> ClipSample:
        """The sample of a clip whose sound is shifted to an earlier time by `shift_frames`."""
        clip = read_clip(self._inputs.clips, row)
        labels = ClipLabels(
            pose=self._poses[clip.key],
            gaze=self._gazes[clip.key],
            blink=self._blinks[clip.key],
            lip_sync=self._lip_sync.get(clip.key, {}),
            labellers=self._labellers,
            coefficients=self._coefficients.get(clip.key),
            blendshapes=self._blendshapes.get(clip.key),
        )
        anchors = tuple(self._anchor(anchor) for anchor in self._anchors.get(clip.key, []))
        if shift_frames != 0:
            anchors = shift_anchors(anchors, clip.frame_count, shift_frames)
            labels, clip = shift_labels(labels, shift_frames), shift_clip(clip, shift_frames)
        return ClipSample(clip, labels, _mel_of(clip), anchors)

    def _anchor(self, anchor: Mapping[str, Any]) -> EyeAnchor:
        place = Place(anchor["offset_bytes"], anchor["size_bytes"])
        composite = read_members(self._inputs.eye_anchors / ANCHORS_TAR, place)["jpg"]
        eyes = f"{anchor['eyes_frame']:03d}.jpg"
        eyes_place = self._row_of[anchor["eyes_key"]].place
        return EyeAnchor(
            base_frame=anchor["base_frame"],
            eyes_key=anchor["eyes_key"],
            eyes_frame=anchor["eyes_frame"],
            eyes_identity=anchor["eyes_identity"],
            composite_jpeg=composite,
            eyes_jpeg=read_some_members(self._inputs.clips / CLIPS_TAR, eyes_place, (eyes,))[eyes],
            gaze_error_rad=anchor["gaze_error_rad"],
            blink_error=anchor["blink_error"],
            rest_error_px=anchor["rest_error_px"],
        )


def _mel_of(clip: Clip) -> NDArray[np.float32]:
    """Mel features of a clip, in one thread: with two, they take four times the CPU time.

    Imports torch, which the rest of this module does not need.
    """
    import torch

    from preprocessing.audio.mel import clip_mel

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return clip_mel(clip.sound, clip.video_sound)
    finally:
        torch.set_num_threads(threads)


def _index_row(sample: ClipSample, shard: str, place: Place) -> dict[str, Any]:
    clip = sample.clip
    return {
        "key": clip.key,
        "identity": clip.identity,
        "video_id": clip.source.video_id,
        "frames": clip.frame_count,
        "anchors": len(sample.anchors),
        "shard": shard,
        "offset_bytes": place.offset_bytes,
        "size_bytes": place.size_bytes,
    }


def _recipe_settings(settings: ShardSettings) -> dict[str, Any]:
    """The settings that decide the shards; those of an inactive filter do not."""
    size = {"maximum_shard_mebibytes": settings.maximum_shard_mebibytes}
    if not settings.lip_sync.active:
        return size
    return size | {"lip_sync": settings.lip_sync, "lip_sync_filter": lip_sync_filter.VERSION}


def _build(run: StepRun[ShardSettings]) -> BuildReport:
    labellers: dict[str, str] = {}
    for step in ("clips", "pose_labels", "gaze_labels", "lip_sync_scores"):
        labellers |= read_labellers(run.upstream[step])
    return make_shards(run.batch.key, ShardInputs(**run.upstream), labellers, run.settings, run.folder)


STEP: Final = Step(
    name="shards",
    upstream=("clips", "pose_labels", "gaze_labels", "lip_sync_scores", "eye_anchors"),
    settings=ShardSettings,
    code_version=CODE_VERSION,
    build=_build,
    recipe_settings=_recipe_settings,
    description="WebDataset tars for training, byte-identical whenever they are built again.",
    group="dataset",
    kinds=frozenset({"webdataset"}),
    columns=SHARD_INDEX_SCHEMA,
)
