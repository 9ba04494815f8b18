"""Parts of MediaPipe's graphs."""

import numpy as np
import pytest

from preprocessing.faces.tflite.graph import Network, part_of_graph, wheel_file

MESH = "face_landmark/face_landmark.tflite"
IMAGE, FIRST_CONVOLUTION, POINTS = 0, 3, 213


def test_parts_of_a_graph_compute_what_the_whole_does() -> None:
    whole = Network(wheel_file(MESH).read_bytes())
    first = Network(part_of_graph(MESH, [IMAGE], [FIRST_CONVOLUTION]))
    second = Network(part_of_graph(MESH, [FIRST_CONVOLUTION], [POINTS]))
    image = np.random.default_rng(0).random((1, 192, 192, 3), np.float32)
    for network in (whole, first):
        network.input()[:] = image
    second.input()[:] = first.run()[0]
    np.testing.assert_allclose(second.run()[0], whole.run()[0], rtol=1e-5, atol=1e-3)


def test_part_of_graph_refuses_outputs_of_other_inputs() -> None:
    with pytest.raises(ValueError, match=r"\[213\] also depend on the inputs \[0\]"):
        part_of_graph(MESH, [], [POINTS])


def test_wheel_file_names_what_is_missing() -> None:
    with pytest.raises(FileNotFoundError, match=r"no mediapipe/modules/none\.tflite"):
        wheel_file("none.tflite")
