"""Which videos of published face tracks are read again: those whose refusal does not judge their content."""

import json
from collections.abc import Mapping
from typing import Any, Final

from preprocessing.media.limits import TOO_LARGE, TOO_LONG
from preprocessing.orchestration.step import StepRun, VideoBatch
from preprocessing.process_pool import CRASHED
from preprocessing.sources.catalog import FAILED
from preprocessing.sources.local_files import file_state
from preprocessing.sources.remote import BucketPath, SourcePath
from preprocessing.worker_limits import OUT_OF_MEMORY, TOO_SLOW
from storage.atomic import copy_folder, partial_path
from storage.objects import read_bytes
from storage.publishing import Published

ATTEMPTS: Final = 3  # runs that try a video again without being asked
PASSING_REASONS: Final = frozenset({CRASHED, OUT_OF_MEMORY, "not_accessible", "still_changing"})
ASKED_REASONS: Final = frozenset({FAILED, TOO_SLOW, TOO_LONG, TOO_LARGE})  # would be again
SOURCE_REASONS: Final = frozenset({"source_missing", "source_changed", "not_a_file"})
RETRIED_REASONS: Final = PASSING_REASONS | SOURCE_REASONS | ASKED_REASONS


def videos_to_retry(batch: VideoBatch, published: Published, everything: bool) -> tuple[str, ...]:
    """Ids of the videos of a published batch that should be read again.

    Args:
        batch: the videos.
        published: their face tracks.
        everything: all that are refused by a reason of `RETRIED_REASONS`; else those whose source is another
            file now than it was then, and those that were tried in fewer than `ATTEMPTS` runs.
    """
    if RETRIED_REASONS.isdisjoint(published.manifest.refusals):
        return ()
    retried: list[str] = []
    for video in batch.videos:
        facts = json.loads(read_bytes(published.directory / video.video_id / "video.json"))
        if facts["refused"] in RETRIED_REASONS and (everything or _is_due(facts, video.path)):
            retried.append(video.video_id)
    return tuple(retried)


def _is_due(facts: Mapping[str, Any], path: SourcePath) -> bool:
    if facts["refused"] in ASKED_REASONS:
        return False
    is_local = not isinstance(path, BucketPath)
    if is_local and file_state(path) != facts.get("source_state"):
        return True
    is_tried = facts["refused"] in PASSING_REASONS or not is_local
    return is_tried and facts.get("attempts", 1) < ATTEMPTS


def keep_read_videos(run: StepRun[Any]) -> dict[str, int]:
    """Copy the previous build's videos, except those that are read again.

    Returns:
        Video id -> number of runs that tried it before.
    """
    attempts: dict[str, int] = {}
    if run.previous is None:
        return attempts
    for video in run.batch.videos:
        before, target = run.previous / video.video_id, run.folder / video.video_id
        if video.video_id in run.retried:
            facts = json.loads((before / "video.json").read_text())
            attempts[video.video_id] = 0 if run.retry_all else facts.get("attempts", 1)
        elif not target.exists():
            partial = partial_path(target)
            copy_folder(before, partial)
            partial.rename(target)
    return attempts
