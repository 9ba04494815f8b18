"""MediaPipe's detectors without its graph, against it."""

import numpy as np
import pytest
from skimage.data import astronaut

from preprocessing.faces.mesh import FaceDetector
from preprocessing.faces.tflite.detector import FullRangeDetector, suppress_overlapping


def test_detector_agrees_with_mediapipes_graph() -> None:
    graph, detector = FaceDetector(), FullRangeDetector(0.6)
    for picture in (astronaut(), np.ascontiguousarray(astronaut()[:300, 80:480])):
        expected, found = graph.find(picture), detector.find(picture)
        assert expected.shape == (1, 5)
        assert found.shape == (1, 5)
        np.testing.assert_allclose(found[0, :4], expected[0, :4], atol=0.1)
        assert found[0, 4] == pytest.approx(expected[0, 4], abs=1e-3)
    graph.close()


def test_detector_takes_a_minimum_confidence() -> None:
    picture = astronaut()
    score = FullRangeDetector(0.6).find(picture)[0, 4]
    assert FullRangeDetector(float(score) + 0.001).find(picture).shape == (0, 5)
    assert FullRangeDetector(0.6).find(np.zeros((64, 96, 3), np.uint8)).shape == (0, 5)


def test_overlapping_boxes_become_their_weighted_mean() -> None:
    found = np.zeros((3, 9))
    found[0, :4], found[0, 8] = (0, 0, 10, 10), 0.6
    found[1, :4], found[1, 8] = (50, 50, 60, 60), 0.7
    found[2, :4], found[2, 8] = (0, 0, 10, 13), 0.9
    kept = suppress_overlapping(found)
    np.testing.assert_allclose(kept[:, 8], [0.9, 0.7])
    np.testing.assert_allclose(kept[0, :4], [0, 0, 10, (0.9 * 13 + 0.6 * 10) / 1.5])
    np.testing.assert_allclose(kept[1, :4], [50, 50, 60, 60])
