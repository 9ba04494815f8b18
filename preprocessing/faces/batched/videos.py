"""Tracks several videos at once in threads, so that their faces share the batches of `batched.mesh`."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from preprocessing.faces.video import FaceTrackSettings, Outcome, VideoTask, track_video
from preprocessing.process_pool import Crashed, map_in_processes

logger = logging.getLogger(__name__)


def track_videos(
    tasks: Sequence[VideoTask], settings: FaceTrackSettings, workers: int
) -> Iterator[tuple[VideoTask, Outcome | Crashed]]:
    """Track every video; yields tasks with their outcomes as they complete.

    Args:
        tasks: the videos.
        settings: of all of them; `tracking.mesh` decides whether a process reads one or several at once.
        workers: processes; 0 for none.

    Raises:
        OSError: as `track_video`.
    """
    together = settings.tracking.videos_at_once if settings.tracking.mesh == "torch" else 1
    if together == 1:
        yield from map_in_processes(track_video, tasks, workers, settings.worker)
        return
    groups = [tasks[start : start + together] for start in range(0, len(tasks), together)]
    limits = settings.worker.replace(
        memory_mebibytes=settings.worker.memory_mebibytes * together,
        cpu_hours=settings.worker.cpu_hours * together,
    )
    alone: list[VideoTask] = []
    for group, outcomes in map_in_processes(_track_together, groups, workers, limits):
        if isinstance(outcomes, Crashed):
            logger.warning("Reading %d videos again, one by one: %s", len(group), outcomes.detail)
            alone += group
        else:
            yield from zip(group, outcomes, strict=True)
    yield from map_in_processes(track_video, alone, workers, settings.worker)


def _track_together(tasks: Sequence[VideoTask]) -> list[Outcome]:
    with ThreadPoolExecutor(len(tasks)) as threads:
        return list(threads.map(track_video, tasks))
