"""The crop arithmetic of the protocol `track`, by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.metrics.lip_sync.face_crops import (
    FaceBox,
    FaceTrack,
    TrackProtocol,
    crop_squares,
    cut_face,
    link_boxes,
)
from evaluation.metrics.lip_sync.lse_syncnet_track import choose_track
from preprocessing.media.container import RefusedVideo

PROTOCOL = TrackProtocol()


def box(frame: int, left: float, side: float = 100.0) -> FaceBox:
    return FaceBox(frame, np.asarray([left, 50.0, left + side, 50.0 + side]))


def track(frames: int, side: float, first_frame: int = 0) -> FaceTrack:
    edges: NDArray[np.float64] = np.asarray([10.0, 20.0, 10.0 + side, 20.0 + side])
    return FaceTrack(first_frame, np.tile(edges, (frames, 1)), frames)


def test_boxes_are_linked_and_interpolated() -> None:
    # A step of 30 of 100 px overlaps by 70 / 130, one of 34 by 66 / 134, which is less than half.
    tracks = link_boxes([box(0, 0.0), box(2, 30.0), box(3, 64.0)], PROTOCOL)
    assert [(found.first_frame, found.end_frame, found.detections) for found in tracks] == [
        (0, 3, 2),
        (3, 4, 1),
    ]
    np.testing.assert_allclose(tracks[0].boxes_px[1], [15.0, 50.0, 115.0, 150.0])


def test_two_faces_are_two_tracks() -> None:
    tracks = link_boxes([box(0, 0.0), box(0, 300.0), box(1, 300.0), box(1, 0.0)], PROTOCOL)
    assert [found.detections for found in tracks] == [2, 2]
    assert [found.boxes_px[0, 0] for found in tracks] == [0.0, 300.0]


@pytest.mark.parametrize(("frame", "count"), [(25, 1), (26, 2)])
def test_long_gap_starts_a_new_track(frame: int, count: int) -> None:
    assert len(link_boxes([box(0, 0.0), box(frame, 0.0)], PROTOCOL)) == count


def test_crop_has_margins_beside_and_below_the_box() -> None:
    # Half the box 50, its centre (60, 70): rows 70 - 50 to 70 + 90, columns 60 -+ 70.
    squares = crop_squares(track(frames=20, side=100.0), PROTOCOL)
    np.testing.assert_array_equal(squares, [[-10, 20, 130, 160]] * 20)


def test_outlier_box_is_smoothed_away() -> None:
    wild = track(frames=20, side=100.0)
    wild.boxes_px[10] = [500.0, 500.0, 900.0, 900.0]
    np.testing.assert_array_equal(crop_squares(wild, PROTOCOL), [[-10, 20, 130, 160]] * 20)


def test_crop_beyond_the_picture_is_grey() -> None:
    image = np.full((224, 224, 3), 200, np.uint8)
    crop = cut_face(image, np.asarray([-112, 0, 112, 224]), PROTOCOL)
    assert crop.shape == (224, 224, 3)
    assert (crop[:, :112] == 110).all()
    assert (crop[:, 112:] == 200).all()
    assert (cut_face(image, np.asarray([300, 300, 400, 400]), PROTOCOL) == 110).all()


def test_choose_track_takes_the_longest_or_says_why_not() -> None:
    long, longer, small = track(100, 120.0), track(150, 110.0, first_frame=7), track(200, 100.0)
    assert choose_track([long, longer, small], PROTOCOL) is longer
    for tracks, message in (
        ([], "no_face: no face was found in any frame"),
        ([track(99, 120.0)], "too_short: the longest face track has 99 frames, need 100"),
        ([small], "too_small: the face is 100 px large, need more than 100 px"),
    ):
        with pytest.raises(RefusedVideo, match=f"^{message}$"):
            choose_track(tracks, PROTOCOL)
