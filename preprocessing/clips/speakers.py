"""Which of several faces in the picture speaks: whose mouth goes with the sound.

Every candidate clip with other faces beside it is scored, and so are all pairs of faces of a shot: where a
clip alone leaves it open, the whole shot may tell. Features are those of `labellers.mouth_sound`.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.clips.company import MINIMUM_OVERLAP_FRAMES
from preprocessing.labellers.lip_sync.mouth_opening import measure_mouth_opening
from preprocessing.labellers.lip_sync.mouth_sound import Projection, correlate, mouth_features, sound_features
from preprocessing.schema import MAXIMUM_CLIP_FRAMES
from storage.settings import Settings

Verdict = Literal["speaks", "not_the_speaker", "speaker_unsure"]


class SpeakerSettings(Settings):
    """How the speaking face is chosen where several are in the picture."""

    choose_by: Literal["speech", "size"] = Field(
        default="speech",
        description="Which of several faces is kept: the one whose mouth goes with the sound, or the largest",
    )
    minimum_score: float = Field(
        default=0.15, ge=-1.0, le=1.0, description="Minimum correlation of a speaker's mouth with the sound"
    )
    minimum_margin: float = Field(
        default=0.07,
        ge=0.0,
        le=1.0,
        description="Minimum difference between a speaker's correlation and that of any other face",
    )
    turn_margin: float = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        description="Minimum difference by which a clip shows a speaker whom the rest of its shot does not",
    )
    lone_score: float = Field(
        default=2.1,
        ge=0.0,
        le=100.0,
        description="Minimum correlation, times the square root of the frames, of a mouth with the sound "
        "where a face was seen that cannot be compared",
    )
    maximum_shift_frames: int = Field(
        default=8, ge=0, le=12, description="Maximum shift between lips and audio, in either direction"
    )
    shift_penalty: float = Field(
        default=0.02,
        ge=0.0,
        le=1.0,
        description="Taken from the correlation for each frame of a shift beyond the first",
    )
    still_opening: float = Field(
        default=0.01,
        ge=0.0,
        description="Minimum standard deviation of the mouth opening; a mouth that moves less does not speak",
    )


@dataclass(frozen=True)
class FaceMotion:
    """What a candidate's mouth does and what is heard meanwhile, as canonical components."""

    key: str
    track: int
    shot: int
    first_frame: int
    seen: NDArray[np.float64] = field(repr=False)  # [T, K]
    heard: NDArray[np.float64] = field(repr=False)  # [T, K]
    opening: NDArray[np.float32] = field(repr=False)  # [T]

    @property
    def end_frame(self) -> int:
        """One past the last frame."""
        return self.first_frame + len(self.seen)


@dataclass(frozen=True)
class Speaking:
    """Whether a candidate's face speaks. Faces alone in the picture have none of these."""

    verdict: Verdict
    score: float  # correlation of its mouth with the sound, less the penalty of the best shift
    margin: float  # its score less that of the best of the other faces; 0 where none can be compared
    needed_score: float | None = None  # of a face beside one that cannot be compared

    def refusal(self, settings: SpeakerSettings) -> dict[str, Any] | None:
        """Why no clip may show this face with this sound, as columns; None if one may."""
        if self.verdict == "speaks":
            return None
        if self.needed_score is not None:
            refusal = {"accepted": False, "reason": self.verdict}
            return refusal | {"score": self.score, "threshold": self.needed_score}
        score, bound = self.margin, settings.minimum_margin
        if self.margin >= settings.minimum_margin:  # no other mouth goes better, and this one not well
            score, bound = self.score, settings.minimum_score
        return {"accepted": False, "reason": self.verdict, "score": score, "threshold": bound}


def face_motion(
    candidate: Mapping[str, Any],
    landmarks_px: NDArray[np.float32],
    sound: NDArray[np.float32],
    projection: Projection,
) -> FaceMotion:
    """The motion of one candidate.

    Args:
        candidate: its row.
        landmarks_px: [T, 478, 3].
        sound: [T * 640] of the same frames.
        projection: of `mouth_sound`.
    """
    return FaceMotion(
        candidate["key"],
        candidate["track"],
        candidate["shot"],
        candidate["first_frame"],
        mouth_features(landmarks_px) @ projection.mouth,
        sound_features(sound) @ projection.sound,
        measure_mouth_opening(landmarks_px),
    )


def judge_alone(face: FaceMotion, projection: Projection, settings: SpeakerSettings) -> Speaking:
    """Whether a face speaks without another one to compare it with, in whose company it was seen.

    Of people who speak other words, one in a hundred has `lone_score` by chance, whatever the length.
    """
    score = speaking_score(face.seen, face.heard, projection, settings)
    needed = settings.lone_score / len(face.seen) ** 0.5
    return Speaking("speaks" if score >= needed else "speaker_unsure", score, 0.0, needed)


def speaking_score(
    seen: NDArray[np.float64],
    heard: NDArray[np.float64],
    projection: Projection,
    settings: SpeakerSettings,
) -> float:
    """Highest correlation of a mouth [T, K] and a sound [T, K] over all shifts, less the shift's penalty."""
    reach = min(settings.maximum_shift_frames, len(seen) - 1)
    penalties = settings.shift_penalty * np.maximum(0, np.abs(np.arange(-reach, reach + 1)) - 1)
    return float((correlate(seen, heard, reach, projection.correlations) - penalties).max())


def judge_speakers(
    faces: Sequence[FaceMotion], projection: Projection, settings: SpeakerSettings
) -> dict[str, Speaking]:
    """Who speaks, by the keys of the candidates that have other faces beside them for a second or more.

    Args:
        faces: candidates of one video.
        projection: that their components are of.
        settings: bounds.
    """

    def score(seen: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
        return speaking_score(seen, heard, projection, settings)

    def margin(both: _Overlap) -> float:
        is_still = float(both.other_opening.std()) < settings.still_opening
        return score(both.own, both.heard) - (0.0 if is_still else score(both.other, both.heard))

    overlaps = _overlaps(faces)
    pieces: dict[tuple[int, int, int], list[_Overlap]] = defaultdict(list)
    for place, others in overlaps.items():
        for track, both in others.items():
            pieces[faces[place].shot, faces[place].track, track].append(both)
    of_shot = {pair: _joined(each) for pair, each in pieces.items()}
    in_shot = {pair: (score(both.own, both.heard), margin(both)) for pair, both in of_shot.items()}
    found: dict[str, Speaking] = {}
    for place, others in overlaps.items():
        face = faces[place]
        in_clip = score(face.seen, face.heard), min(margin(both) for both in others.values())
        pairs = [in_shot[face.shot, face.track, track] for track in others]
        worst = min(each[0] for each in pairs), min(each[1] for each in pairs)
        found[face.key] = Speaking(_verdict(in_clip, worst, settings), *in_clip)
    return found


def _verdict(
    in_clip: tuple[float, float], in_shot: tuple[float, float], settings: SpeakerSettings
) -> Verdict:
    """By score and margin of the clip and of its shot.

    The shot is the longer evidence: it tells where the clip is close, and only a clear clip overrules it, as
    where people take turns.
    """
    bound = settings.minimum_margin
    (score, margin), (shot_score, shot_margin) = in_clip, in_shot
    if score >= settings.minimum_score and margin >= bound:
        return "speaks" if shot_margin >= 0.0 or margin >= settings.turn_margin else "speaker_unsure"
    if margin > -bound and shot_score >= settings.minimum_score and shot_margin >= 2.0 * bound:
        return "speaks"
    if margin <= -settings.turn_margin or (margin < bound and shot_margin <= -bound):
        return "not_the_speaker"
    return "speaker_unsure"


@dataclass(frozen=True)
class _Overlap:
    """The frames of a candidate in which another track is in the picture as well."""

    own: NDArray[np.float64]  # [T', K]
    other: NDArray[np.float64]  # [T', K]
    heard: NDArray[np.float64]  # [T', K]
    other_opening: NDArray[np.float32]  # [T']


def _overlaps(faces: Sequence[FaceMotion]) -> dict[int, dict[int, _Overlap]]:
    """The other tracks beside each face, by its place; faces that are alone are left out."""
    order = sorted(range(len(faces)), key=lambda place: faces[place].first_frame)
    starts = [faces[place].first_frame for place in order]
    found: dict[int, dict[int, _Overlap]] = {}
    for place, face in enumerate(faces):
        pieces: dict[int, list[_Overlap]] = defaultdict(list)
        near = slice(bisect(starts, face.first_frame - MAXIMUM_CLIP_FRAMES), bisect(starts, face.end_frame))
        for other in (faces[each] for each in order[near]):
            start, end = max(face.first_frame, other.first_frame), min(face.end_frame, other.end_frame)
            if other.track != face.track and start < end:
                own = slice(start - face.first_frame, end - face.first_frame)
                theirs = slice(start - other.first_frame, end - other.first_frame)
                pieces[other.track].append(
                    _Overlap(face.seen[own], other.seen[theirs], face.heard[own], other.opening[theirs])
                )
        both = {track: _joined(each) for track, each in pieces.items()}
        both = {track: each for track, each in both.items() if len(each.own) >= MINIMUM_OVERLAP_FRAMES}
        if both:
            found[place] = both
    return found


def _joined(pieces: Sequence[_Overlap]) -> _Overlap:
    return _Overlap(
        np.concatenate([each.own for each in pieces]),
        np.concatenate([each.other for each in pieces]),
        np.concatenate([each.heard for each in pieces]),
        np.concatenate([each.other_opening for each in pieces]),
    )


def main_tracks(candidates: Sequence[Mapping[str, Any]], speaking: Mapping[str, Speaking]) -> dict[str, bool]:
    """Whether each candidate shows the main face: of the tracks beside it, none speaks for longer.

    Whole tracks are compared, so that the identity of a video does not go from one person to another with
    every turn of a conversation. Among tracks of which none speaks, the largest face is the main one.
    """
    spoken: dict[int, int] = defaultdict(int)
    spans: dict[int, tuple[int, int]] = {}
    for row in candidates:
        verdict = speaking.get(row["key"])
        spoken[row["track"]] += row["frames"] if verdict is not None and verdict.verdict == "speaks" else 0
        first, end = spans.get(row["track"], (row["first_frame"], 0))
        spans[row["track"]] = min(first, row["first_frame"]), max(end, row["first_frame"] + row["frames"])
    found: dict[str, bool] = {}
    for row in candidates:
        beside = [
            spoken[track]
            for track, (first, end) in spans.items()
            if track != row["track"]
            and first < row["first_frame"] + row["frames"]
            and row["first_frame"] < end
        ]
        most = max(beside, default=0)
        own = spoken[row["track"]]
        found[row["key"]] = own > most or (own == most and row["main_face"])
    return found
