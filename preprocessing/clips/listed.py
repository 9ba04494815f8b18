"""Whose face a clip shows, where lists name parts of its video."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from preprocessing.schema import Clip
from preprocessing.sources.lists.segments import Segment, facts_of
from storage.fingerprint import JsonValue


@dataclass(frozen=True)
class SourceOfClips:
    """The catalog's facts of a video, and the parts of it that a list names."""

    identity: str
    relative_path: str
    segments: tuple[Segment, ...] = ()
    picture_px: tuple[int, int] = (0, 0)  # displayed width and height; needed for faces in shares of it


def find_segment(clip: Clip, source: SourceOfClips, size_px: float) -> Segment | None:
    """The first segment that a clip is part of and whose face it shows; None: of no segment."""
    middle = clip.source.first_frame + clip.frame_count // 2
    covering = [each for each in source.segments if each.first_frame <= middle < each.end_frame]
    place = face_in_source(clip)
    # A row that names a face is meant for it alone; the others are for the largest face.
    by_face = sorted(covering, key=lambda segment: segment.box_at(middle) is None)
    return next((each for each in by_face if each.shows(middle, place, size_px, source.picture_px)), None)


def face_in_source(clip: Clip) -> tuple[float, float]:
    """The middle of the face in the source, px, in the middle of the clip."""
    frame = clip.frame_count // 2
    transform = clip.source.crop_transforms[frame].astype(np.float64)
    points = clip.landmarks_px[frame, :, :2]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    x, y = np.linalg.solve(transform[:, :2], middle - transform[:, 2])
    return float(x), float(y)


def of_segment(clip: Clip, segment: Segment, *, is_main: bool) -> Clip:
    """The clip with its segment's identity and labels; a face beside the listed one keeps its number."""
    identity = segment.identity if is_main else f"{segment.identity} face {clip.source.track}"
    return replace(clip, identity=identity, annotations=segment.annotations)


def facts_of_sources(segments: Sequence[Segment], picture_px: tuple[int, int]) -> list[JsonValue]:
    """What the clips of a video depend on beside its identity; [] without segments."""
    return [facts_of(segments), list(picture_px)] if segments else []
