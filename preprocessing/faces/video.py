"""Track the faces of one video: decode it once and write its folder, or one that says why it was refused.

For each video a folder `<video_id>/`: `candidates.tar` (crops, landmarks and crop transforms of the
candidates, one WebDataset sample each), `candidates.parquet` (a row a piece of track, also those too
short), `sound.flac` (16 kHz mono on the same timeline) and `video.json`. Folders appear atomically.
"""

import errno
import json
import threading
import time
import traceback
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import av.error
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from preprocessing.archive import ArchiveWriter, Place
from preprocessing.faces.alignment import AlignmentSettings
from preprocessing.faces.candidate_tables import (
    CANDIDATES_SCHEMA,
    NUMBERS,
    candidate_key,
    candidate_row,
    mark_main_faces,
)
from preprocessing.faces.candidates import Candidate, CandidateCutter, CandidateSettings
from preprocessing.faces.collecting import CandidateCollector
from preprocessing.faces.continuity import ContinuitySettings, FaceContinuity
from preprocessing.faces.retries import RETRIED_REASONS
from preprocessing.faces.tracking import FaceTracker, TrackingSettings
from preprocessing.media.container import RefusedVideo, failure
from preprocessing.media.decoding import DecodeSettings, VideoFrame, open_video
from preprocessing.media.flac import flac_writer
from preprocessing.media.limits import MediaLimits
from preprocessing.media.shots import ShotDetector, ShotSettings
from preprocessing.schema import FRAMES_PER_SECOND
from preprocessing.shards import encode_array
from preprocessing.sources.catalog import FAILED
from preprocessing.sources.local_files import file_state, unchanged_file
from preprocessing.sources.remote import SourcePath, fetched
from preprocessing.worker_limits import OUT_OF_MEMORY, WorkerLimits
from storage.atomic import flush_file, partial_path, remove
from storage.fingerprint import file_sha256
from storage.settings import Settings


class FaceTrackSettings(Settings):
    """Settings of the step; all but the limits change what it writes, and are part of its fingerprint."""

    decode: DecodeSettings = DecodeSettings()
    shots: ShotSettings = ShotSettings()
    tracking: TrackingSettings = TrackingSettings()
    continuity: ContinuitySettings = ContinuitySettings()
    candidates: CandidateSettings = CandidateSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    media: MediaLimits = MediaLimits()
    worker: WorkerLimits = WorkerLimits()


@dataclass(frozen=True)
class VideoToTrack:
    """A video of the batch."""

    video_id: str
    path: SourcePath  # an object of a bucket is copied into `folder` while it is tracked
    spans: tuple[tuple[int, int], ...] = ()  # first and end frame of the parts to track; () for all of it


@dataclass(frozen=True)
class VideoTask:
    """A video with what a worker needs to track it."""

    video: VideoToTrack
    folder: Path
    settings: FaceTrackSettings
    weights: Path | None = None  # of the detector
    attempts: int = 0  # runs that tried before


@dataclass(frozen=True)
class Outcome:
    """What became of a video, for the log."""

    summary: str
    trace: str = ""  # of an exception that nothing foresees
    failure: str = ""  # that exception in one line, without the video's name


def track_video(task: VideoTask) -> Outcome:
    """Read one video; returns a one-line summary.

    Raises:
        OSError: not of the video, but of the folder or of the bucket.
    """
    # Opened first: a detector that does not work is nobody's row.
    tracker = _tracker(task.settings.tracking, task.weights)
    started = time.monotonic()
    trace = ""
    try:
        with _partial_folder(task) as partial:
            with _local_video(task) as path:
                facts = _read(task, path, partial, tracker)
            _publish(task, partial, facts)
    except RefusedVideo as error:
        refusal = error
    except MemoryError as error:
        allowed = task.settings.worker.memory_mebibytes
        refusal = RefusedVideo(OUT_OF_MEMORY, f"{failure(error)}; its process may take {allowed} MiB")
    except Exception as error:  # the one place of tracking: a video must not end the reading of all others
        if _is_of_output(error):
            raise
        refusal, trace = RefusedVideo(FAILED, failure(error)), traceback.format_exc()
        _trackers.of_settings.clear()  # it may have stopped in the middle of a frame
    else:
        seconds = time.monotonic() - started
        return Outcome(
            f"{facts['frames']} frames, {facts['shots']} shots, {facts['tracks']} tracks, "
            f"{facts['candidates']} candidates in {seconds:.1f} s"
        )
    failure_of_any = refusal.detail.replace(str(task.video.path), "").replace(task.video.video_id, "")
    return Outcome(publish_refusal(task, refusal), trace, failure_of_any if trace else "")


def _is_of_output(error: Exception) -> bool:
    """Whether an error concerns every video: of the folder that is written, or of a bucket.

    The source was opened and read before; FFmpeg's errors are of its content. `sound.flac` is the only file
    that libsndfile opens.
    """
    if isinstance(error, av.error.FFmpegError):
        return False
    return isinstance(error, (OSError, soundfile.LibsndfileError))


@contextmanager
def _local_video(task: VideoTask) -> Generator[Path, None, None]:
    """The video as a local file; a bucket's object as a copy that is removed after the block.

    Raises:
        RefusedVideo: `source_missing`, `not_a_file`, `not_accessible`, `source_changed` or `still_changing`:
            it is no longer the video in the catalog.
        OSError: the object cannot be fetched; the error may be transient.
    """
    video = task.video
    if isinstance(video.path, Path):
        with unchanged_file(video.path, video.video_id):
            yield video.path
        return
    with fetched(video.path, task.folder / f"{video.video_id}{video.path.suffix}") as (copy, _):
        sha256 = file_sha256(copy)
        if not sha256.startswith(video.video_id):
            raise RefusedVideo("source_changed", f"{video.path} has other content: sha256 {sha256[:16]}")
        yield copy


def _read(task: VideoTask, path: Path, partial: Path, tracker: FaceTracker) -> dict[str, Any]:
    settings = task.settings
    tracker.begin_video()
    collector = CandidateCollector(
        ShotDetector(settings.shots),
        tracker,
        FaceContinuity(settings.continuity),
        CandidateCutter(settings.candidates, settings.alignment),
    )
    rows: list[dict[str, Any]] = []
    with (
        flac_writer(partial / "sound.flac") as sound,
        ArchiveWriter(partial / "candidates.tar") as archive,
        open_video(path, settings.decode, sound.write, settings.media) as decoded,
    ):

        def write(pieces: list[Candidate]) -> list[dict[str, Any]]:
            return _write(pieces, task.video.video_id, settings.candidates.minimum_frames, archive)

        for frame, begins_span in frames_of_spans(decoded, task.video.spans):
            rows += write(collector.add(frame, begins_shot=begins_span))
        rows += write(collector.finish())
    frames = collector.frames
    mark_main_faces(rows)
    rows.sort(key=lambda row: row["key"])
    pq.write_table(pa.Table.from_pylist(rows, schema=CANDIDATES_SCHEMA), partial / "candidates.parquet")
    return {
        "video_id": task.video.video_id,
        "frames": frames,
        "seconds": frames / FRAMES_PER_SECOND,
        "shots": collector.shots,
        "tracks": len({row["track"] for row in rows}),
        "candidates": sum(row["offset_bytes"] >= 0 for row in rows),
        "damaged_packets": decoded.damaged_packets,
        "damaged_frames": collector.damaged_frames,
        "restamped_pictures": decoded.restamped_pictures,
        "parts": decoded.parts,
        "recorded_sound": decoded.recorded_sound,
        **_refusal_of_empty(rows, frames, task.video.spans),
    }


def _refusal_of_empty(
    rows: list[dict[str, Any]], frames: int, spans: tuple[tuple[int, int], ...]
) -> dict[str, str]:
    if rows:
        return {"refused": "", "detail": ""}
    if spans and not frames:
        seconds = spans[0][0] / FRAMES_PER_SECOND
        return {
            "refused": "outside_the_video",
            "detail": f"the parts that a list names begin at {seconds:.2f} s, after the video's end",
        }
    return {"refused": "no_face", "detail": f"no face in {frames} frames"}


def frames_of_spans(
    frames: Iterable[VideoFrame], spans: tuple[tuple[int, int], ...]
) -> Iterator[tuple[VideoFrame, bool]]:
    """The frames within the spans, all without any, and whether a span begins with each."""
    current = None
    for frame in frames:
        span = next((span for span in spans if span[0] <= frame.index < span[1]), None)
        if span is not None or not spans:
            yield frame, span != current
        current = span


class _Trackers(threading.local):
    """One tracker a thread and settings: building its graphs costs as much as tracking fifty frames."""

    def __init__(self) -> None:
        self.of_settings: dict[Hashable, FaceTracker] = {}


_trackers: Final = _Trackers()


def _tracker(settings: TrackingSettings, weights: Path | None) -> FaceTracker:
    # Settings are hashable; static types of pydantic models do not say so.
    key = cast("Hashable", settings), weights
    if key not in _trackers.of_settings:
        _trackers.of_settings[key] = FaceTracker(settings, weights)
    return _trackers.of_settings[key]


def _write(
    candidates: list[Candidate], video_id: str, minimum_frames: int, archive: ArchiveWriter
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for candidate in candidates:
        key = candidate_key(video_id, candidate.track, candidate.first_frame)
        place = Place(-1, 0)
        if candidate.frames_jpeg:
            members = {f"{number:03d}.jpg": jpeg for number, jpeg in enumerate(candidate.frames_jpeg)}
            members["landmarks.npy"] = encode_array(candidate.landmarks_px)
            members["transforms.npy"] = encode_array(candidate.crop_transforms)
            place = archive.write(key, members)
        rows.append(candidate_row(key, video_id, candidate, minimum_frames, place))
    return rows


@contextmanager
def _partial_folder(task: VideoTask) -> Generator[Path, None, None]:
    """The folder of a video until it is published; else removed, as a full disk needs its space."""
    partial = partial_path(task.folder / task.video.video_id)
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        remove(partial)


def publish_refusal(task: VideoTask, refusal: RefusedVideo) -> str:
    """Write the folder of a refused video; returns a one-line summary."""
    facts = {"video_id": task.video.video_id, "refused": refusal.reason, "detail": refusal.detail}
    counts = dict.fromkeys(NUMBERS, 0)
    path = task.video.path
    again: dict[str, Any] = {}
    if refusal.reason in RETRIED_REASONS:
        state = file_state(path) if isinstance(path, Path) else ""
        again = {"attempts": task.attempts + 1, "source_state": state}
    with _partial_folder(task) as partial:
        pq.write_table(pa.Table.from_pylist([], schema=CANDIDATES_SCHEMA), partial / "candidates.parquet")
        _publish(task, partial, facts | counts | {"seconds": 0.0, "recorded_sound": []} | again)
    if refusal.reason == FAILED:
        return f"failed: {refusal.detail}"
    return f"refused: {refusal.reason}: {refusal.detail}"


def _publish(task: VideoTask, partial: Path, facts: dict[str, Any]) -> None:
    (partial / "video.json").write_text(json.dumps(facts, sort_keys=True, indent=1))
    for path in sorted(partial.iterdir()):
        flush_file(path)  # after a power cut no name must be left without its bytes
    try:
        partial.rename(task.folder / task.video.video_id)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
