"""How tracks are cut: no frame lost, no clip too long, short pieces counted."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.data import astronaut

from preprocessing.faces.alignment import AlignmentSettings
from preprocessing.faces.candidates import Candidate, CandidateCutter, CandidateSettings
from preprocessing.faces.collecting import refuse_unless_upright
from preprocessing.faces.tracking import TrackedFace
from preprocessing.media.jpeg import encode_jpeg
from tests.preprocessing.faces.test_alignment import centre_of

SIZE = (300, 400)  # height, width
SQUARE = AlignmentSettings(mode="square")


def view(track: int = 0, left: float = 150.0, window: NDArray[np.uint8] | None = None) -> TrackedFace:
    """A face of 40 x 50 px whose window starts at (80, 60)."""
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:, 0] = np.linspace(left, left + 40, 478)
    landmarks[:, 1] = np.linspace(110, 160, 478)
    picture = np.zeros((220, 220, 3), np.uint8) if window is None else window
    return TrackedFace(track, landmarks, picture, np.array([[1.0, 0.0, -80.0], [0.0, 1.0, -60.0]]))


def cut(frames: int, minimum: int = 25) -> list[Candidate]:
    cutter = CandidateCutter(CandidateSettings(minimum_frames=minimum), SQUARE)
    done: list[Candidate] = []
    for index in range(7, 7 + frames):
        done += cutter.add(index, 2, [view()], SIZE)
    return done + cutter.finish(SIZE)


@pytest.mark.parametrize(
    ("frames", "pieces"),
    [
        (25, [25]),
        (64, [64]),
        (65, [32, 33]),
        (75, [37, 38]),
        (88, [44, 44]),
        (89, [64, 25]),
        (128, [64, 64]),
        (200, [64, 64, 36, 36]),
    ],
)
def test_track_is_cut_into_pieces(frames: int, pieces: list[int]) -> None:
    candidates = cut(frames)
    assert [candidate.frame_count for candidate in candidates] == pieces
    assert [candidate.first_frame for candidate in candidates] == [
        7 + sum(pieces[:n]) for n in range(len(pieces))
    ]
    assert all(len(candidate.frames_jpeg) == candidate.frame_count for candidate in candidates)
    assert {candidate.shot for candidate in candidates} == {2}


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 260), st.integers(2, 32))
def test_no_frame_is_lost_and_only_short_tracks_are_short(frames: int, minimum: int) -> None:
    lengths = [candidate.frame_count for candidate in cut(frames, minimum)]
    assert sum(lengths) == frames
    assert max(lengths) <= 64
    assert min(lengths) >= minimum or lengths == [frames]


def test_short_piece_has_no_pictures() -> None:
    (short,) = cut(24)
    assert (short.frame_count, short.frames_jpeg, short.first_frame) == (24, (), 7)
    names = {"face_size_px", "largest_step", "outside_share", "repeated_share", "standing_frames"}
    assert set(short.scores) == names | {"unread_frames"}


def test_refused_pictures_are_pieces_of_their_own() -> None:
    cutter = CandidateCutter(CandidateSettings(), SQUARE)
    done: list[Candidate] = []
    for index in range(80):
        done += cutter.add(index, 0, [view()], SIZE, refused="damaged_pictures" if 30 <= index < 60 else "")
    done += cutter.finish(SIZE, refused_frames=5, refused="dissolve")
    pieces = [(piece.first_frame, piece.frame_count, piece.refused, len(piece.frames_jpeg)) for piece in done]
    assert pieces == [
        (0, 30, "", 30),
        (30, 30, "damaged_pictures", 0),
        (60, 15, "", 0),
        (75, 5, "dissolve", 0),
    ]


def test_repeats_are_counted_per_piece() -> None:
    cutter = CandidateCutter(CandidateSettings(), SQUARE)
    for index in range(30):
        cutter.add(index, 0, [view()], SIZE, repeated={0} if 10 <= index < 16 or index % 15 == 0 else set())
    (piece,) = cutter.finish(SIZE)
    assert piece.scores["repeated_share"] == pytest.approx(7 / 30)  # 0, 10 to 15, and 15 again
    assert piece.scores["standing_frames"] == 6


def test_frames_beside_a_face_that_is_not_tracked_are_counted() -> None:
    cutter = CandidateCutter(CandidateSettings(), SQUARE)
    for index in range(60):  # of 50 px itself
        beside = 26.0 if index < 20 else 24.0 if index < 40 else 0.0
        cutter.add(index, 0, [view()], SIZE, unread_face_px=beside)
    (piece, tail) = cutter.finish(SIZE, refused_frames=5, refused="dissolve")
    assert (piece.scores["unread_frames"], tail.scores["unread_frames"]) == (20.0, 0.0)


@pytest.mark.parametrize(("turned", "refused"), [(False, ""), (True, "not_upright")])
def test_crop_that_is_upside_down_is_refused(turned: bool, refused: str) -> None:
    crop = np.asarray(cv2.resize(astronaut()[0:240, 110:350], (224, 224)), np.uint8)
    crop = np.ascontiguousarray(crop[::-1, ::-1]) if turned else crop
    jpegs = tuple(encode_jpeg(crop, 95) for _ in range(3))
    piece = Candidate(0, 0, 0, jpegs, np.zeros((3, 478, 3), np.float32), np.zeros((3, 2, 3), np.float32), {})
    judged = refuse_unless_upright(piece)
    assert (judged.refused, len(judged.frames_jpeg)) == (refused, 0 if turned else 3)


def test_ended_track_is_returned_at_once() -> None:
    cutter = CandidateCutter(CandidateSettings(), SQUARE)
    for index in range(30):
        assert cutter.add(index, 0, [view(0), view(1, left=170.0)], SIZE) == []
    (ended,) = cutter.add(30, 0, [view(1, left=170.0)], SIZE)
    assert (ended.track, ended.first_frame, ended.frame_count) == (0, 0, 30)
    (other,) = cutter.finish(SIZE)
    assert (other.track, other.first_frame, other.frame_count) == (1, 0, 31)
    assert cutter.finish(SIZE) == []


def test_scores_are_in_face_sizes() -> None:
    cutter = CandidateCutter(CandidateSettings(minimum_frames=2), SQUARE)
    cutter.add(0, 0, [view(left=150.0)], SIZE)
    cutter.add(1, 0, [view(left=155.0)], SIZE)
    (candidate,) = cutter.finish(SIZE)
    assert candidate.scores["face_size_px"] == pytest.approx(50.0)
    assert candidate.scores["largest_step"] == pytest.approx(5 / 50)
    assert candidate.scores["outside_share"] == 0.0
    assert (candidate.scores["sharpness"], candidate.scores["brightness"]) == (0.0, 0.0)


def test_outside_share_covers_frame_and_window() -> None:
    # The square crop is 90 px wide and centred on the face: x from 125 to 215 where left is 150.
    assert outside_share(left=150.0, size=SIZE) == 0.0
    assert outside_share(left=150.0, size=(300, 170)) == pytest.approx(
        0.5, abs=1 / 15
    )  # the frame ends at 170
    assert outside_share(left=234.0, size=SIZE) == 0.0  # 209 to 299, the window's last column
    assert outside_share(left=279.0, size=SIZE) == pytest.approx(0.5, abs=1 / 15)  # half beyond the window


def outside_share(left: float, size: tuple[int, int]) -> float:
    cutter = CandidateCutter(CandidateSettings(), SQUARE)
    cutter.add(0, 0, [view(left=left)], size)
    return cutter.finish(size)[0].scores["outside_share"]


def test_crop_and_landmarks_agree() -> None:
    window = np.zeros((220, 220, 3), np.uint8)
    cv2.circle(window, (170 - 80, 135 - 60), 4, (255, 255, 255), -1, cv2.LINE_AA)  # the box's middle
    cutter = CandidateCutter(CandidateSettings(minimum_frames=2), SQUARE)
    for index in range(2):
        cutter.add(index, 0, [view(window=window)], SIZE)
    (candidate,) = cutter.finish(SIZE)
    picture = cv2.imdecode(np.frombuffer(candidate.frames_jpeg[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    middle = candidate.landmarks_px[0, [0, -1], :2].mean(axis=0)
    np.testing.assert_allclose(middle, [111.5, 111.5], atol=0.01)
    np.testing.assert_allclose(centre_of(np.where(picture > 30, picture, 0)), middle, atol=0.1)


@pytest.mark.parametrize(
    ("minimum", "quality", "error"),
    [
        (1, 95, "must be >= 2, got 1"),
        (33, 95, "must be <= 32"),
        (25, 49, "must be >= 50"),
    ],
)
def test_candidate_settings_refuse_values_out_of_range(minimum: int, quality: int, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        CandidateSettings(minimum_frames=minimum, jpeg_quality=quality)


def test_one_track_ends_without_its_last_frames_and_the_others_go_on() -> None:
    cutter = CandidateCutter(CandidateSettings(), SQUARE)
    for index in range(45):
        cutter.add(index, 0, [view(0), view(1, left=170.0)], SIZE)
    kept, refused = cutter.end_track(0, SIZE, 16, "dissolve")
    assert (kept.frame_count, kept.refused, len(kept.frames_jpeg)) == (29, "", 29)
    assert (refused.first_frame, refused.frame_count, refused.refused) == (29, 16, "dissolve")
    assert cutter.end_track(0, SIZE, 16, "dissolve") == []
    (other,) = cutter.finish(SIZE)
    assert (other.track, other.frame_count) == (1, 45)
