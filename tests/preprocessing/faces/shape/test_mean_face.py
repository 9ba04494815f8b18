"""The committed mean face: symmetry, scale, placing."""

import numpy as np

from preprocessing.faces.shape import landmark_groups as face_points
from preprocessing.faces.shape.mean_face import IRIS_DIAMETER_CM, TABLE_PATH, load_mean_face


def test_mirror_vertices_are_exact() -> None:
    face = load_mean_face()
    assert np.array_equal(face.mirror[face.mirror], np.arange(478))
    assert np.array_equal(face.vertices_cm[face.mirror], face.vertices_cm * [-1.0, 1.0, 1.0])


def test_head_is_upright_and_faces_the_camera() -> None:
    vertices = load_mean_face().vertices_cm
    assert vertices[face_points.NOSE_TIP, 2] > vertices[[33, 263, 61, 291, 10, 152], 2].max()
    assert vertices[10, 1] > 3.0 > -8.0 > vertices[face_points.CHIN, 1]
    assert vertices[33, 0] < vertices[133, 0] < 0.0 < vertices[362, 0] < vertices[263, 0]


def test_iris_has_the_anatomical_width() -> None:
    vertices = load_mean_face().vertices_cm
    for _, right, _, left, _ in (face_points.IMAGE_LEFT_IRIS, face_points.IMAGE_RIGHT_IRIS):
        width = np.linalg.norm(vertices[right] - vertices[left])
        assert abs(width - IRIS_DIAMETER_CM) < 1e-3


def test_origin_is_midway_between_the_eyeballs() -> None:
    centres = load_mean_face().eyeball_centres_cm
    np.testing.assert_array_equal(centres.sum(axis=0), [0.0, 0.0, 0.0])
    assert 5.4 < centres[1, 0] - centres[0, 0] < 7.4  # adults' pupils


def test_table_is_small_and_arrays_are_read_only() -> None:
    assert TABLE_PATH.stat().st_size < 60_000
    assert not load_mean_face().vertices_cm.flags.writeable
