"""Which candidates have other faces about them, of the rows of one video."""

from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from preprocessing.faces.candidates import RIVAL_SIZE_SHARE
from preprocessing.schema import MAXIMUM_CLIP_FRAMES

MINIMUM_OVERLAP_FRAMES: Final = 25  # of two faces; shorter overlaps are not compared


def candidates_in_company(candidates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The candidates of one video, with pictures, beside which another track has such candidates."""
    shown = sorted(
        (row for row in candidates if row["offset_bytes"] >= 0), key=lambda row: row["first_frame"]
    )
    starts = [row["first_frame"] for row in shown]
    found: list[Mapping[str, Any]] = []
    for row in shown:
        first, end = row["first_frame"], row["first_frame"] + row["frames"]
        near = slice(bisect(starts, first - MAXIMUM_CLIP_FRAMES), bisect(starts, end - 1))
        if any(
            other["track"] != row["track"] and other["first_frame"] + other["frames"] > first
            for other in shown[near]
        ):
            found.append(row)
    return found


def beside_unread_faces(candidates: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys of candidates beside which other faces are in the picture that cannot be compared.

    Those are pieces without landmarks, too short or refused, and faces that are seen and cannot be tracked.
    They count where they are at least `RIVAL_SIZE_SHARE` as large, and fill `MINIMUM_OVERLAP_FRAMES` of the
    candidate together: a speaker who is lost again and again, half covered, or whose face is refused, is not
    the silent one beside.
    """
    unread = sorted(
        (row for row in candidates if row["offset_bytes"] < 0), key=lambda row: row["first_frame"]
    )
    starts = [row["first_frame"] for row in unread]
    found: set[str] = set()
    for row in (each for each in candidates if each["offset_bytes"] >= 0):
        first, size_px = row["first_frame"], RIVAL_SIZE_SHARE * row["face_size_px"]
        near = slice(bisect(starts, first - MAXIMUM_CLIP_FRAMES), bisect(starts, first + row["frames"] - 1))
        is_taken = np.zeros(row["frames"], bool)
        for other in unread[near]:
            if other["track"] != row["track"] and other["face_size_px"] >= size_px:
                start = other["first_frame"] - first
                is_taken[max(0, start) : max(0, start + other["frames"])] = True
        if max(int(is_taken.sum()), row["unread_frames"]) >= MINIMUM_OVERLAP_FRAMES:
            found.add(row["key"])
    return found


def alone_after_company(candidates: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys of candidates that are alone in the picture, of faces that have another one beside them before.

    Or after, in the same shot, for `MINIMUM_OVERLAP_FRAMES`: whoever has left the picture may speak on.
    """
    shots: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in candidates:
        shots[row["video_id"], row["shot"]].append(row)
    found: set[str] = set()
    for rows in shots.values():
        if len({row["track"] for row in rows}) > 1:
            found |= _alone_after_company(rows)
    return found


def _alone_after_company(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Of the candidates of one shot."""
    start = min(row["first_frame"] for row in rows)
    frames = max(row["first_frame"] + row["frames"] for row in rows) - start
    sizes = {track: np.zeros(frames) for track in {row["track"] for row in rows}}
    for row in rows:
        first = row["first_frame"] - start
        sizes[row["track"]][first : first + row["frames"]] = row["face_size_px"]
    found: set[str] = set()
    for row in (each for each in rows if each["offset_bytes"] >= 0):
        least_px = RIVAL_SIZE_SHARE * row["face_size_px"]
        others = np.max([size for track, size in sizes.items() if track != row["track"]], axis=0) >= least_px
        first = row["first_frame"] - start
        beside = int(others[first : first + row["frames"]].sum())
        together = int((others & (sizes[row["track"]] > 0.0)).sum())
        if beside < MINIMUM_OVERLAP_FRAMES <= together:
            found.add(row["key"])
    return found
