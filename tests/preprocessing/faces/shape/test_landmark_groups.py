"""Named landmark groups against the edges that MediaPipe itself publishes."""

import pytest
from mediapipe.python.solutions import face_mesh_connections as connections

from preprocessing.faces.shape import landmark_groups as face_points
from preprocessing.faces.shape.mean_face import load_mean_face


def loop_edges(loop: tuple[int, ...]) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in zip(loop, loop[1:] + loop[:1], strict=True)}


@pytest.mark.parametrize(
    ("loop", "edges"),
    [
        (face_points.FACE_OVAL, connections.FACEMESH_FACE_OVAL),
        (face_points.IMAGE_LEFT_IRIS[1:], connections.FACEMESH_RIGHT_IRIS),
        (face_points.IMAGE_RIGHT_IRIS[1:], connections.FACEMESH_LEFT_IRIS),
    ],
)
def test_loop_is_mediapipes_outline(loop: tuple[int, ...], edges: frozenset[tuple[int, int]]) -> None:
    assert loop_edges(loop) == {frozenset(edge) for edge in edges}


def test_lips_are_mediapipes_loops() -> None:
    ours = loop_edges(face_points.LIPS_OUTER) | loop_edges(face_points.LIPS_INNER)
    assert ours == {frozenset(edge) for edge in connections.FACEMESH_LIPS}


@pytest.mark.parametrize(
    ("contour", "corners", "upper", "lower", "edges"),
    [
        (
            face_points.IMAGE_LEFT_EYE,
            face_points.IMAGE_LEFT_EYE_CORNERS,
            face_points.IMAGE_LEFT_UPPER_LID,
            face_points.IMAGE_LEFT_LOWER_LID,
            connections.FACEMESH_RIGHT_EYE,
        ),
        (
            face_points.IMAGE_RIGHT_EYE,
            face_points.IMAGE_RIGHT_EYE_CORNERS,
            face_points.IMAGE_RIGHT_UPPER_LID,
            face_points.IMAGE_RIGHT_LOWER_LID,
            connections.FACEMESH_LEFT_EYE,
        ),
    ],
)
def test_eye_contour_is_mediapipes_in_our_order(
    contour: tuple[int, ...],
    corners: tuple[int, int],
    upper: tuple[int, ...],
    lower: tuple[int, ...],
    edges: frozenset[tuple[int, int]],
) -> None:
    assert {frozenset(edge) for edge in edges} <= loop_edges(contour)
    assert contour == (corners[0], *upper, corners[1], *lower[::-1])


def test_right_groups_mirror_left_groups() -> None:
    mirror = load_mean_face().mirror
    for left, right in [
        (face_points.IMAGE_LEFT_EYE, face_points.IMAGE_RIGHT_EYE),
        (face_points.IMAGE_LEFT_LOWER_LID, face_points.IMAGE_RIGHT_LOWER_LID),
        (face_points.IMAGE_LEFT_EYEBROW, face_points.IMAGE_RIGHT_EYEBROW),
        (face_points.IMAGE_LEFT_LID_SKIN, face_points.IMAGE_RIGHT_LID_SKIN),
        (face_points.RIGID_IMAGE_LEFT, face_points.RIGID_IMAGE_RIGHT),
        (face_points.RIGID_MIDLINE, face_points.RIGID_MIDLINE),
        (face_points.POSE_IMAGE_LEFT, face_points.POSE_IMAGE_RIGHT),
        (face_points.POSE_MIDLINE, face_points.POSE_MIDLINE),
    ]:
        assert tuple(int(mirror[point]) for point in left) == right


def test_rigid_points_have_no_lid_lip_or_brow() -> None:
    moving = {
        *face_points.IMAGE_LEFT_UPPER_LID,
        *face_points.IMAGE_LEFT_LOWER_LID,
        *face_points.LIPS_OUTER,
        *face_points.LIPS_INNER,
        *face_points.IMAGE_LEFT_EYEBROW,
        *face_points.IMAGE_LEFT_IRIS,
        face_points.CHIN,
    }
    for points in (face_points.RIGID_POINTS, face_points.POSE_POINTS):
        assert not moving & set(points)
        assert len(set(points)) == len(points)
