"""The step `face_tracks`: one decode of each video into shots, tracks, candidate clips and sound.

For each video a folder `<video_id>/`: `candidates.tar` (crops, landmarks and crop transforms of the
candidates, one WebDataset sample each), `candidates.parquet` (a row a piece of track, also those too
short), `sound.flac` (16 kHz mono on the same timeline) and `video.json`. Folders appear atomically, so
an interrupted run resumes with the next video.
"""

import errno
import json
import logging
import time
import traceback
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import av.error
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from preprocessing.archive import ArchiveWriter, Place
from preprocessing.common_failure import common_error, common_failure
from preprocessing.faces.alignment import AlignmentSettings
from preprocessing.faces.candidates import Candidate, CandidateCutter, CandidateSettings
from preprocessing.faces.collecting import CandidateCollector
from preprocessing.faces.continuity import ContinuitySettings, FaceContinuity
from preprocessing.faces.detectors import DetectorSettings
from preprocessing.faces.mesh import MEDIAPIPE_VERSION
from preprocessing.faces.retries import RETRIED_REASONS, keep_read_videos, videos_to_retry
from preprocessing.faces.tracking import FaceTracker, TrackingSettings
from preprocessing.labellers.backend import write_labellers
from preprocessing.media.container import RefusedVideo, failure
from preprocessing.media.decoding import DecodeSettings, VideoFrame, open_video
from preprocessing.media.flac import flac_writer
from preprocessing.media.limits import MediaLimits
from preprocessing.media.shots import ShotDetector, ShotSettings
from preprocessing.orchestration.step import Step, StepRun, VideoBatch
from preprocessing.process_pool import CRASHED, LONE_ATTEMPTS, Crashed, default_workers, map_in_processes
from preprocessing.schema import FRAMES_PER_SECOND
from preprocessing.shards import encode_array
from preprocessing.sources.catalog import FAILED
from preprocessing.sources.lists.segments import spans_of
from preprocessing.sources.local_files import file_state, unchanged_file
from preprocessing.sources.remote import SourcePath, fetched
from preprocessing.table_schema import column, table_schema
from preprocessing.worker_limits import OUT_OF_MEMORY, WorkerLimits
from storage.atomic import PARTIAL_MARK, flush_file, partial_path, remove, remove_dead_partials
from storage.fingerprint import JsonValue, file_sha256
from storage.printable import printable
from storage.publishing import BuildReport
from storage.settings import Settings
from weights.resolve import ResolvedWeights

logger = logging.getLogger(__name__)

LIMITS: Final = ("media", "worker")  # settings that do not change what is written of a video within them
CODE_VERSION: Final = f"8+mediapipe{MEDIAPIPE_VERSION}"

CANDIDATES_SCHEMA: Final = table_schema(
    column("key", pa.string(), "candidate's key: video, track, first frame"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("track", pa.int32(), "face track within the video"),
    column("shot", pa.int32(), "shot within the video"),
    column("first_frame", pa.int64(), "first frame on the 25 fps grid"),
    column("frames", pa.int32(), "number of frames"),
    column("minimum_frames", pa.int32(), "pieces shorter than this are too short"),
    column("offset_bytes", pa.int64(), "where the sample begins in candidates.tar; -1 where too short"),
    column("size_bytes", pa.int64(), "bytes of the sample in candidates.tar"),
    column("main_face", pa.bool_(), "no larger face is in the picture at the same time"),
    column("face_size_px", pa.float64(), "longer side of the face's box in the source, median, px"),
    column("largest_step", pa.float64(), "largest movement between neighbouring frames, face sizes"),
    column("outside_share", pa.float64(), "largest share of a crop beyond the picture that was kept"),
    column("refused", pa.string(), "why the pictures are not kept; empty if they are, or are too few"),
    column("repeated_share", pa.float64(), "share of frames whose face is that of the frame before"),
    column("standing_frames", pa.float64(), "longest run of such frames"),
    column("sharpness", pa.float64(), "variance of the crop's Laplacian, median"),
    column("brightness", pa.float64(), "mean grey level of the crop, 0 to 255, median"),
)

NUMBERS: Final = (
    "frames",
    "shots",
    "tracks",
    "candidates",
    "damaged_packets",
    "damaged_frames",
    "restamped_pictures",
    "parts",
)  # of video.json


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
class _VideoTask:
    video: VideoToTrack
    folder: Path
    settings: FaceTrackSettings
    weights: Path | None = None  # of the detector
    attempts: int = 0  # runs that tried before


@dataclass(frozen=True)
class _Outcome:
    summary: str
    trace: str = ""  # of an exception that nothing foresees
    failure: str = ""  # that exception in one line, without the video's name


def make_face_tracks(
    videos: Sequence[VideoToTrack],
    settings: FaceTrackSettings,
    folder: Path,
    *,
    workers: int | None = None,
    weights: ResolvedWeights | None = None,
    attempts: Mapping[str, int] | None = None,
) -> BuildReport:
    """Track the faces of a batch of videos.

    A video that cannot be read, whatever the exception, is refused with a reason, and the others are read.
    Only what concerns every video is raised: a full disk, a bucket that does not answer, a wrong detector.

    Args:
        videos: the batch.
        settings: of the step.
        folder: where to write; videos that it already holds are not read again.
        workers: processes; None for one a core, 0 for none.
        weights: of the detector, where it needs any.
        attempts: video id -> number of runs that tried it before.

    Returns:
        Counts of videos, frames, shots, tracks and candidates, and the refusals by reason.

    Raises:
        FileNotFoundError: the detector's weights do not exist.
        OSError: the folder cannot be written, or a bucket cannot be read.
        ValueError: the detector needs weights and got none, or the file is not what it runs.
        RuntimeError: every video failed with one and the same exception.
    """
    _record_detector(settings.tracking.detector, weights, folder)
    waiting = [video for video in videos if not (folder / video.video_id).exists()]
    if len(waiting) < len(videos):
        logger.info("%d of %d videos were read before", len(videos) - len(waiting), len(videos))
    counted = attempts or {}
    tasks = [
        _VideoTask(video, folder, settings, weights and weights.path, counted.get(video.video_id, 0))
        for video in waiting
    ]
    workers = default_workers() if workers is None else workers
    outcomes = map_in_processes(track_video, tasks, workers, settings.worker)
    failures: list[str] = []
    for number, (task, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, Crashed):
            summary = _publish_refusal(task, _crashed(outcome))
            remove_dead_partials(folder)  # copies of objects that died with their readers
        else:
            summary = outcome.summary
            failures.append(outcome.failure)
            if outcome.trace:
                logger.error("Reading %s failed\n%s", printable(task.video.path), outcome.trace)
        logger.info("%d of %d: %s: %s", number, len(tasks), printable(task.video.path.name), summary)
    if len(failures) == len(tasks) and (failure := common_failure(failures)):
        for task in tasks:
            remove(folder / task.video.video_id)
        raise common_error(failure, len(tasks), "videos")
    return _report(videos, folder)


def _record_detector(settings: DetectorSettings, weights: ResolvedWeights | None, folder: Path) -> None:
    """Write which detector found the faces, if it runs pretrained weights of its own.

    It is opened once, so that wrong weights are refused before a video is read. The default, MediaPipe's,
    belongs to the version of MediaPipe, as the landmarks do.
    """
    backend = settings.selected_backend
    if backend.weights is not None:
        backend.open(settings, weights and weights.path).close()
        write_labellers(folder, {"faces": backend.labeller_name(weights)}, weights)


def _crashed(outcome: Crashed) -> RefusedVideo:
    if outcome.reason != CRASHED:
        return RefusedVideo(outcome.reason, outcome.detail)
    return RefusedVideo(
        CRASHED,
        f"the process that read it died, {LONE_ATTEMPTS} times without others beside it: for want of memory "
        f"or by a fault in a codec ({outcome.detail})",
    )


def track_video(task: _VideoTask) -> _Outcome:
    """Read one video; returns a one-line summary.

    Raises:
        OSError: not of the video, but of the folder or of the bucket.
    """
    # Settings are hashable; static types of pydantic models do not say so. Opened first: a detector that does
    # not work is nobody's row.
    tracker = _tracker(cast("Hashable", task.settings.tracking), task.weights)
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
        _tracker.cache_clear()  # it may have stopped in the middle of a frame
    else:
        seconds = time.monotonic() - started
        return _Outcome(
            f"{facts['frames']} frames, {facts['shots']} shots, {facts['tracks']} tracks, "
            f"{facts['candidates']} candidates in {seconds:.1f} s"
        )
    failure_of_any = refusal.detail.replace(str(task.video.path), "").replace(task.video.video_id, "")
    return _Outcome(_publish_refusal(task, refusal), trace, failure_of_any if trace else "")


def _is_of_output(error: Exception) -> bool:
    """Whether an error concerns every video: of the folder that is written, or of a bucket.

    The source was opened and read before; FFmpeg's errors are of its content. `sound.flac` is the only file
    that libsndfile opens.
    """
    if isinstance(error, av.error.FFmpegError):
        return False
    return isinstance(error, (OSError, soundfile.LibsndfileError))


@contextmanager
def _local_video(task: _VideoTask) -> Generator[Path, None, None]:
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


def _read(task: _VideoTask, path: Path, partial: Path, tracker: FaceTracker) -> dict[str, Any]:
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


@cache
def _tracker(settings: TrackingSettings, weights: Path | None) -> FaceTracker:
    """One tracker a process: building its graphs costs as much as tracking fifty frames."""
    return FaceTracker(settings, weights)


def candidate_key(video_id: str, track: int, first_frame: int) -> str:
    """The key of a candidate, and of its clip."""
    return f"{video_id}-t{track:02d}-f{first_frame:07d}"


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
        rows.append(
            {
                "key": key,
                "video_id": video_id,
                "track": candidate.track,
                "shot": candidate.shot,
                "first_frame": candidate.first_frame,
                "frames": candidate.frame_count,
                "minimum_frames": minimum_frames,
                **asdict(place),
                "main_face": True,
                "refused": candidate.refused,
                **candidate.scores,
            }
        )
    return rows


def mark_main_faces(rows: list[dict[str, Any]]) -> None:
    """Set `main_face` in the candidate rows of one video.

    Of the tracks in the picture at the same time, the larger face is the main one. Whole tracks are
    compared, not pieces: otherwise two people of similar size would swap from clip to clip, and each
    would be taken for the other.
    """
    spans: dict[int, _TrackSpan] = {}
    for row in rows:
        span = spans.setdefault(row["track"], _TrackSpan(row["first_frame"]))
        span.end_frame = max(span.end_frame, row["first_frame"] + row["frames"])
        span.first_frame = min(span.first_frame, row["first_frame"])
        span.size_px_frames += row["face_size_px"] * row["frames"]
        span.frames += row["frames"]
    for row in rows:
        end_frame, own = row["first_frame"] + row["frames"], spans[row["track"]]
        row["main_face"] = not any(
            other.first_frame < end_frame and row["first_frame"] < other.end_frame and other.outsizes(own)
            for other in spans.values()
        )


@dataclass
class _TrackSpan:
    first_frame: int
    end_frame: int = 0
    size_px_frames: float = 0.0
    frames: int = 0

    def outsizes(self, other: "_TrackSpan") -> bool:
        return self.size_px_frames / self.frames > other.size_px_frames / other.frames


@contextmanager
def _partial_folder(task: _VideoTask) -> Generator[Path, None, None]:
    """The folder of a video until it is published; else removed, as a full disk needs its space."""
    partial = partial_path(task.folder / task.video.video_id)
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        remove(partial)


def _publish_refusal(task: _VideoTask, refusal: RefusedVideo) -> str:
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


def _publish(task: _VideoTask, partial: Path, facts: dict[str, Any]) -> None:
    (partial / "video.json").write_text(json.dumps(facts, sort_keys=True, indent=1))
    for path in sorted(partial.iterdir()):
        flush_file(path)  # after a power cut no name must be left without its bytes
    try:
        partial.rename(task.folder / task.video.video_id)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # A worker left by a killed run was faster, with the same bytes.


def read_candidates(folder: Path) -> pa.Table:
    """All candidate rows of a batch, in the order of their keys."""
    paths = _files_of_complete_videos(folder, "candidates.parquet")
    tables = [pq.read_table(path, schema=CANDIDATES_SCHEMA) for path in paths]
    return pa.concat_tables(tables) if tables else CANDIDATES_SCHEMA.empty_table()


def read_video_facts(folder: Path) -> list[dict[str, Any]]:
    """The `video.json` of each video of a batch, in the order of their ids."""
    return [json.loads(path.read_text()) for path in _files_of_complete_videos(folder, "video.json")]


def _files_of_complete_videos(folder: Path, name: str) -> list[Path]:
    """This file of every video of a batch, except those that a worker may still be writing."""
    return sorted(path for path in folder.glob(f"*/{name}") if PARTIAL_MARK not in path.parent.name)


def _report(videos: Sequence[VideoToTrack], folder: Path) -> BuildReport:
    facts = read_video_facts(folder)
    rows = read_candidates(folder)
    frames = np.asarray(rows["frames"], np.int64)
    written = np.asarray(rows["offset_bytes"], np.int64) >= 0
    refusals: dict[str, int] = {}
    for video in facts:
        if video["refused"]:
            refusals[video["refused"]] = refusals.get(video["refused"], 0) + 1
    counts = {
        "videos": len(videos),
        "frames": sum(video["frames"] for video in facts),
        "seconds_of_video": sum(video["seconds"] for video in facts),
        "shots": sum(video["shots"] for video in facts),
        "tracks": sum(video["tracks"] for video in facts),
        "candidates": int(written.sum()),
        "frames_in_candidates": int(frames[written].sum()),
        "frames_in_short_pieces": int(frames[~written].sum()),
        "damaged_packets": sum(video["damaged_packets"] for video in facts),
        "damaged_frames": sum(video["damaged_frames"] for video in facts),
        "restamped_pictures": sum(video["restamped_pictures"] for video in facts),
    }
    return BuildReport(counts=counts, refusals=refusals)


def _detector_settings(settings: FaceTrackSettings) -> DetectorSettings:
    return settings.tracking.detector


def _recipe_settings(settings: FaceTrackSettings) -> dict[str, Any]:
    tracking = dict(settings.tracking) | {"detector": settings.tracking.detector.deciding_settings()}
    deciding = {name: value for name, value in dict(settings).items() if name not in LIMITS}
    return deciding | {"tracking": tracking}


def _video_ids(batch: VideoBatch) -> JsonValue:
    spans = [spans_of(video.segments) for video in batch.videos]
    return [
        [video.video_id, [list(span) for span in each]] if each else video.video_id
        for video, each in zip(batch.videos, spans, strict=True)
    ]


def _build(run: StepRun[FaceTrackSettings]) -> BuildReport:
    attempts = keep_read_videos(run)
    videos = [
        VideoToTrack(video.video_id, video.path, spans_of(video.segments)) for video in run.batch.videos
    ]
    return make_face_tracks(
        videos, run.settings, run.folder, workers=run.workers, weights=run.weights, attempts=attempts
    )


STEP: Final = Step(
    name="face_tracks",
    settings=FaceTrackSettings,
    code_version=CODE_VERSION,
    build=_build,
    source_facts=_video_ids,
    backend_settings=_detector_settings,
    recipe_settings=_recipe_settings,
    to_retry=videos_to_retry,
    description="One decode of every video of the batch: 25 fps, shot cuts, every face tracked with 478 "
    "landmarks, aligned candidate clips and their 16 kHz sound.",
    group="preprocessing",
    kinds=frozenset({"mediapipe", "opencv"}),
    columns=CANDIDATES_SCHEMA,
)
