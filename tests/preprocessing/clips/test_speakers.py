"""Who speaks: by components of mouth and sound that the tests make, and by real features of a drawn face."""

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.clips.company import alone_after_company, beside_unread_faces, candidates_in_company
from preprocessing.clips.speakers import (
    FaceMotion,
    SpeakerSettings,
    Speaking,
    judge_alone,
    judge_speakers,
    main_tracks,
)
from preprocessing.labellers.lip_sync.mouth_sound import Projection

FRAMES = 60
SETTINGS = SpeakerSettings()
PROJECTION = Projection(np.eye(2), np.eye(2), np.array([0.5, 0.3]))
Array = NDArray[np.float64]


def heard_from(first: int, frames: int = FRAMES) -> Array:
    return np.random.default_rng(0).normal(size=(300, 2))[first : first + frames]


def motion(track: int, likeness: float, first: int = 0, opening: float = 0.1, seed: int = 1) -> FaceMotion:
    """A candidate whose mouth goes with the sound by this correlation."""
    heard = heard_from(first)
    noise = np.random.default_rng(seed + 10 * track + first).normal(size=heard.shape)
    seen = likeness * heard + np.sqrt(1.0 - likeness**2) * noise
    openings = opening * np.random.default_rng(track).normal(size=len(heard))
    return FaceMotion(f"t{track}-f{first}", track, 0, first, seen, heard, np.abs(openings).astype(np.float32))


def test_mouth_that_goes_with_the_sound_speaks() -> None:
    found = judge_speakers([motion(0, 0.0), motion(1, 0.7)], PROJECTION, SETTINGS)
    assert (found["t0-f0"].verdict, found["t1-f0"].verdict) == ("not_the_speaker", "speaks")
    assert found["t1-f0"].margin == pytest.approx(-found["t0-f0"].margin)
    assert found["t1-f0"].score == pytest.approx(0.7, abs=0.15)


def test_face_alone_is_not_judged() -> None:
    assert judge_speakers([motion(0, 0.7), motion(1, 0.7, first=60)], PROJECTION, SETTINGS) == {}


def test_two_mouths_alike_are_unsure() -> None:
    face = motion(0, 0.7)
    twin = FaceMotion("t1-f0", 1, 0, 0, face.seen, face.heard, face.opening)
    found = judge_speakers([face, twin], PROJECTION, SETTINGS)
    assert {each.verdict for each in found.values()} == {"speaker_unsure"}
    assert found["t0-f0"].refusal(SETTINGS) == {
        "accepted": False, "reason": "speaker_unsure", "score": 0.0, "threshold": 0.07,
    }  # fmt: skip


def test_nobody_speaks_where_no_mouth_goes_with_the_sound() -> None:
    settings = SpeakerSettings(minimum_score=0.5)
    found = judge_speakers([motion(0, 0.35), motion(1, 0.0)], PROJECTION, settings)["t0-f0"]
    assert found.verdict == "speaker_unsure"
    refusal = found.refusal(settings)
    assert refusal is not None
    assert (refusal["score"], refusal["threshold"]) == (found.score, 0.5)


def test_still_mouth_beside_a_speaker_does_not_compete() -> None:
    """The jitter of a poster's landmarks goes with the sound by chance."""
    face = motion(0, 0.7)
    poster = FaceMotion("t1-f0", 1, 0, 0, face.seen, face.heard, np.full(FRAMES, 0.02, np.float32))
    found = judge_speakers([face, poster], PROJECTION, SETTINGS)
    assert found["t0-f0"].verdict == "speaks"


def test_shot_decides_where_a_clip_leaves_it_open() -> None:
    """Of two clips in a row, the first is clear and the second is not."""
    blurred = motion(1, 0.7, first=60)
    twin = FaceMotion("t0-f60", 0, 0, 60, blurred.seen, blurred.heard, blurred.opening)
    faces = [motion(0, 0.0), motion(1, 0.9), twin, blurred]
    found = judge_speakers(faces, PROJECTION, SETTINGS)
    assert (found["t0-f60"].verdict, found["t1-f60"].verdict) == ("not_the_speaker", "speaks")
    assert found["t0-f60"].margin == found["t1-f60"].margin == 0.0


def test_conversation_is_judged_turn_by_turn() -> None:
    faces = [motion(0, 0.8), motion(1, 0.0), motion(0, 0.0, first=60), motion(1, 0.8, first=60)]
    found = judge_speakers(faces, PROJECTION, SETTINGS)
    spoke = [key for key, each in found.items() if each.verdict == "speaks"]
    assert spoke == ["t0-f0", "t1-f60"]


def row(track: int, first: int, frames: int = 60, *, main_face: bool = False) -> dict[str, object]:
    key = f"t{track}-f{first}"
    return {
        "key": key, "track": track, "first_frame": first, "frames": frames,
        "main_face": main_face, "offset_bytes": 0, "unread_frames": 0.0, "video_id": "v", "shot": 0,
    }  # fmt: skip


def test_main_face_is_the_one_that_speaks_longest() -> None:
    rows = [row(0, 0, main_face=True), row(1, 0), row(0, 60, main_face=True), row(1, 60), row(2, 200)]
    turns = {"t0-f0": "not_the_speaker", "t1-f0": "speaks", "t0-f60": "speaks", "t1-f60": "speaks"}
    verdicts = {key: Speaking(verdict, 0.3, 0.1) for key, verdict in turns.items()}  # pyright: ignore[reportArgumentType]
    main = main_tracks([*rows[:4], row(2, 200, main_face=True)], verdicts)
    assert main == {"t0-f0": False, "t1-f0": True, "t0-f60": False, "t1-f60": True, "t2-f200": True}
    assert main_tracks(rows[:4], {}) == {each["key"]: each["main_face"] for each in rows[:4]}


def test_only_candidates_in_company_are_read() -> None:
    rows = [row(0, 0), row(1, 59), row(0, 60), row(1, 119), row(0, 300), row(1, 360)]
    rows.append(row(2, 300) | {"offset_bytes": -1})
    found = [each["key"] for each in candidates_in_company(rows)]
    assert found == ["t0-f0", "t1-f59", "t0-f60", "t1-f119"]


def test_faces_without_landmarks_leave_it_open() -> None:
    """A speaker whose face is lost again and again, one whose face is refused, a face far behind."""
    lost = [unread(2 + number, 15 * number, 13) for number in range(4)]
    refused = unread(1, 200, 60)
    far = unread(1, 400, 60, size_px=30.0)
    faces = [row(0, first) | {"face_size_px": 100.0} for first in (0, 100, 200, 400)]
    assert beside_unread_faces([*faces, *lost, refused, far]) == {"t0-f0", "t0-f200"}
    assert beside_unread_faces(faces) == set()


def test_face_that_is_never_tracked_leaves_it_open() -> None:
    covered = row(0, 0) | {"face_size_px": 100.0, "unread_frames": 25.0}
    assert beside_unread_faces([covered, covered | {"key": "t0-f60", "unread_frames": 24.0}]) == {"t0-f0"}


def test_face_alone_after_company_in_one_shot() -> None:
    """Of whom one leaves the picture; small ones, short ones and other shots do not count."""
    tracks = [(0, 0), (0, 60), (0, 120), (1, 20), (2, 300), (3, 310), (2, 360), (4, 500), (5, 500), (4, 560)]
    rows = [row(*each) | {"shot": each[1] // 300} for each in tracks]
    for each in rows:
        each["face_size_px"] = {5: 40.0}.get(each["track"], 100.0)  # pyright: ignore[reportCallIssue, reportArgumentType]
    rows[5] |= {"frames": 20, "offset_bytes": -1}
    assert alone_after_company(rows) == {"t0-f60", "t0-f120"}
    assert alone_after_company([each | {"shot": each["first_frame"]} for each in rows]) == set()


def test_face_by_itself_needs_a_score_by_its_length() -> None:
    face = motion(0, 0.5, first=0)
    speaking = judge_alone(face, PROJECTION, SETTINGS)
    assert speaking.needed_score == pytest.approx(2.1 / 60**0.5)
    assert speaking.verdict == "speaks"
    silent = judge_alone(motion(0, 0.0), PROJECTION, SETTINGS)
    refusal = silent.refusal(SETTINGS) or {}
    assert (refusal["reason"], refusal["score"]) == ("speaker_unsure", silent.score)
    assert refusal["threshold"] == silent.needed_score


def unread(track: int, first: int, frames: int, size_px: float = 80.0) -> dict[str, object]:
    return row(track, first, frames) | {"offset_bytes": -1, "face_size_px": size_px}


def test_clip_that_the_shot_contradicts_is_unsure() -> None:
    """By chance the other mouth goes a little better with the sound of a short clip."""
    close, other = motion(0, 0.5, first=60, seed=3), motion(1, 0.4, first=60, seed=3)
    faces = [motion(0, 0.0), motion(1, 0.9), close, other]
    found = judge_speakers(faces, PROJECTION, SETTINGS)
    assert 0.07 < found["t0-f60"].margin < 0.2
    assert found["t0-f60"].verdict == "speaker_unsure"
