"""The step `face_tracks`: one decode of each video into shots, tracks, candidate clips and sound.

An interrupted run resumes with the next video: the folders that `video` writes appear atomically.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from preprocessing.common_failure import common_error, common_failure
from preprocessing.faces.batched.videos import track_videos
from preprocessing.faces.candidate_tables import CANDIDATES_SCHEMA, report_of_batch
from preprocessing.faces.detectors import DetectorSettings
from preprocessing.faces.mesh import MEDIAPIPE_VERSION
from preprocessing.faces.retries import keep_read_videos, videos_to_retry
from preprocessing.faces.video import (
    FaceTrackSettings,
    VideoTask,
    VideoToTrack,
    publish_refusal,
)
from preprocessing.labellers.backend import write_labellers
from preprocessing.media.container import RefusedVideo
from preprocessing.orchestration.step import Step, StepRun, VideoBatch
from preprocessing.process_pool import CRASHED, LONE_ATTEMPTS, Crashed, default_workers
from preprocessing.sources.lists.segments import spans_of
from storage.atomic import remove, remove_dead_partials
from storage.fingerprint import JsonValue
from storage.printable import printable
from storage.publishing import BuildReport
from weights.resolve import ResolvedWeights

logger = logging.getLogger(__name__)

LIMITS: Final = ("media", "worker")  # settings that do not change what is written of a video within them
PLACES: Final = ("mesh_device", "videos_at_once")  # of the tracking: likewise
CODE_VERSION: Final = f"14+mediapipe{MEDIAPIPE_VERSION}"


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
        VideoTask(video, folder, settings, weights and weights.path, counted.get(video.video_id, 0))
        for video in waiting
    ]
    workers = default_workers() if workers is None else workers
    outcomes = track_videos(tasks, settings, workers)
    failures: list[str] = []
    for number, (task, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, Crashed):
            summary = publish_refusal(task, _crashed(outcome))
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
    return report_of_batch(len(videos), folder)


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


def _detector_settings(settings: FaceTrackSettings) -> DetectorSettings:
    return settings.tracking.detector


def _recipe_settings(settings: FaceTrackSettings) -> dict[str, Any]:
    tracking = dict(settings.tracking) | {"detector": settings.tracking.detector.deciding_settings()}
    tracking = {name: value for name, value in tracking.items() if name not in PLACES}
    deciding = {name: value for name, value in dict(settings).items() if name not in LIMITS}
    if settings.decode.hardware == "none":
        deciding["decode"] = settings.decode.model_dump(exclude={"hardware"})
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
