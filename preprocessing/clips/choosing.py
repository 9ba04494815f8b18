"""Whose face each clip of a batch may show, of those in the picture at the same time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from preprocessing.archive import Place, read_some_members
from preprocessing.clips.company import alone_after_company, beside_unread_faces, candidates_in_company
from preprocessing.clips.cutting import SOUND_NAME, cut_sound
from preprocessing.clips.speakers import (
    FaceMotion,
    SpeakerSettings,
    Speaking,
    face_motion,
    judge_alone,
    judge_speakers,
    main_tracks,
)
from preprocessing.labellers.lip_sync.mouth_sound import Projection, load_projection
from preprocessing.shards import decode_array


def choose_faces(
    candidates: list[dict[str, Any]], face_tracks: Path, settings: SpeakerSettings
) -> tuple[list[dict[str, Any]], dict[str, Speaking], dict[str, Exception]]:
    """Whose face each clip of a batch may show.

    Returns:
        The candidates with `main_face` by who speaks; by key, whether those in company speak; by video, the
        exceptions of those that could not be judged.
    """
    if settings.choose_by == "size":
        return candidates, {}, {}
    projection = load_projection()
    chosen: list[dict[str, Any]] = []
    speaking: dict[str, Speaking] = {}
    errors: dict[str, Exception] = {}
    for video_id, group in groupby(candidates, key=lambda row: row["video_id"]):
        rows = list(group)
        try:
            verdicts = _judge(rows, face_tracks / video_id, projection, settings)
        except Exception as error:  # noqa: BLE001  (a video must not end the work on all others)
            errors[video_id], verdicts = error, {}
        main = main_tracks(rows, verdicts)
        chosen += [row | {"main_face": main[row["key"]]} for row in rows]
        speaking |= verdicts
    return chosen, speaking, errors


def _judge(
    rows: Sequence[Mapping[str, Any]], video: Path, projection: Projection, settings: SpeakerSettings
) -> dict[str, Speaking]:
    """Who speaks in one video: the better of faces that can be compared, and good enough beside others."""
    unread, alone = beside_unread_faces(rows), alone_after_company(rows)
    in_company = {row["key"] for row in candidates_in_company(rows)} | unread | alone
    motions = _motions([row for row in rows if row["key"] in in_company], video, projection)
    verdicts = judge_speakers(motions, projection, settings)
    for each in motions:
        known = verdicts.get(each.key)
        if known is None and each.key in unread | alone:
            verdicts[each.key] = judge_alone(each, projection, settings)
        elif known is not None and known.verdict == "speaks" and each.key in unread:
            by_itself = judge_alone(each, projection, settings)
            verdicts[each.key] = replace(by_itself, margin=known.margin)
    return verdicts


def _motions(rows: Sequence[Mapping[str, Any]], video: Path, projection: Projection) -> list[FaceMotion]:
    motions: list[FaceMotion] = []
    for row in rows:
        place = Place(row["offset_bytes"], row["size_bytes"])
        members = read_some_members(video / "candidates.tar", place, ("landmarks.npy",))
        landmarks_px = decode_array(row["key"], members, "landmarks.npy")
        sound, _ = cut_sound(video / SOUND_NAME, row["first_frame"], row["frames"], 0.0)
        motions.append(face_motion(row, landmarks_px, sound, projection))
    return motions
