"""SCRFD's boxes, of toy detectors of its layout: a red, green or blue place is a face of one of its sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from preprocessing.labellers import faces_insightface
from preprocessing.labellers.faces_insightface import ScrfdDetector
from preprocessing.labellers.networks import open_onnx
from tests.factories.preprocessing.backends import assert_missing_and_cut_files_are_told
from tests.factories.preprocessing.scrfd import write_colour_detector, write_fixed_detector
from tests.preprocessing.labels.test_identity import write_network

Picture = NDArray[np.uint8]
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
PURE = (255 - 127.5) / 128  # a channel at its most as the network sees it; half of the way from its least


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_detector(tmp_path_factory.mktemp("network") / "colours.onnx")


@pytest.fixture(scope="module")
def detector(network: Path) -> ScrfdDetector:
    return ScrfdDetector(network)


def picture(
    width: int, height: int, *patches: tuple[tuple[int, int, int], tuple[int, int, int, int]]
) -> Picture:
    """Black, with patches of a colour at (left, top, right, bottom)."""
    image = np.zeros((height, width, 3), np.uint8)
    for colour, (left, top, right, bottom) in patches:
        image[top:bottom, left:right] = colour
    return image


# The longer side is seen at 640 px: 1200 px shrink to it by 15/8, so that a place of 8 px is one of 15.
# Place (column, row) of stride s lies at (s column, s row); its box is 1 s, 2 s, 3 s, 4 s about that.
@pytest.mark.parametrize(
    ("image", "box"),
    [
        # Place (10, 5) of 8: at (80, 40), from 72, 24 to 104, 72 of those seen, times 15/8.
        (picture(1200, 300, (RED, (150, 75, 165, 90))), (135, 45, 195, 135)),
        (picture(300, 1200, (RED, (75, 150, 90, 165))), (60, 120, 120, 210)),  # upright: place (5, 10)
        # Place (5, 3) of 16: at (80, 48), from 64, 16 to 128, 112.
        (picture(1200, 300, (GREEN, (150, 90, 180, 120))), (120, 30, 240, 210)),
        # Place (2, 2) of 32: at (64, 64), from 32, 0 to 160, 192, of which 160 are in the picture.
        (picture(1200, 300, (BLUE, (120, 120, 180, 180))), (60, 0, 300, 300)),
        # As large as seen; place (0, 0) of 8: what lies beyond the picture is cut off.
        (picture(640, 640, (RED, (0, 0, 8, 8))), (0, 0, 24, 32)),
        # A small picture is enlarged by 2: place (10, 5) is at (40, 20), its box half as large.
        (picture(320, 200, (RED, (40, 20, 44, 24))), (36, 12, 52, 36)),
    ],
)
def test_boxes_are_decoded_from_anchors_and_distances(
    detector: ScrfdDetector, image: Picture, box: tuple[int, ...]
) -> None:
    """Of the two anchors of a place, whose boxes overlap by nearly all, the better is kept."""
    boxes = detector.find(image)
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes[:, :4], [box], atol=1e-3)
    if image.shape[1] != 320:  # enlarged, a patch's edge runs into its surroundings
        np.testing.assert_allclose(boxes[:, 4], PURE, atol=1e-5)


def test_picture_without_faces_gives_an_empty_array(detector: ScrfdDetector) -> None:
    assert detector.find(picture(320, 200)).shape == (0, 5)


def test_faces_are_sorted_by_score_without_overlaps(
    detector: ScrfdDetector,
) -> None:
    dim = (200, 0, 0)
    # Boxes 32 x 48: shifted by 8 px they share 24 of 40 columns, 0.6 of both; by 24 px 8 of 56, 0.14.
    apart = picture(640, 640, (dim, (80, 80, 88, 88)), (RED, (104, 80, 112, 88)))
    boxes = detector.find(apart)
    np.testing.assert_allclose(boxes[:, :4], [[96, 64, 128, 112], [72, 64, 104, 112]], atol=1e-3)
    np.testing.assert_allclose(boxes[:, 4], [PURE, (200 / 128) / 2], atol=1e-5)
    near = picture(640, 640, (dim, (80, 80, 88, 88)), (RED, (88, 80, 96, 88)))
    np.testing.assert_allclose(detector.find(near)[:, :4], [[80, 64, 112, 112]], atol=1e-3)


def test_confidence_is_the_score_of_the_network(network: Path) -> None:
    image = picture(640, 640, ((154, 0, 0), (80, 80, 88, 88)))  # 154 / 128 / 2 is 0.6016
    assert len(ScrfdDetector(network, 0.6).find(image)) == 1
    assert len(ScrfdDetector(network, 0.61).find(image)) == 0


def test_inverted_boxes_are_dropped(tmp_path: Path) -> None:
    detector = ScrfdDetector(write_fixed_detector(tmp_path / "fixed.onnx", (300, 100, 200, 200)))
    assert detector.find(picture(640, 640)).shape == (0, 5)


def test_networks_of_another_input_size_are_refused(tmp_path: Path) -> None:
    image = picture(640, 640, (RED, (80, 80, 88, 88)))
    fixed = ScrfdDetector(write_colour_detector(tmp_path / "640.onnx", (640, 640)))
    np.testing.assert_allclose(fixed.find(image)[:, :4], [[72, 64, 104, 112]], atol=1e-3)
    other = write_colour_detector(tmp_path / "320.onnx", (320, 320))
    with pytest.raises(ValueError, match=r"320\.onnx takes \[\[1, 3, 320, 320\]\] and has 9 outputs"):
        ScrfdDetector(other)


def test_bad_network_files_are_errors_of_one_line(tmp_path: Path, network: Path) -> None:
    assert_missing_and_cut_files_are_told(ScrfdDetector, network, tmp_path)


def test_other_networks_are_refused_by_their_layout(tmp_path: Path, network: Path) -> None:
    recognition = write_network(tmp_path / "w600k_r50.onnx")
    with pytest.raises(ValueError, match=r"50\.onnx takes \[\['n', 3, 112, 112\]\] and has 1 outputs"):
        ScrfdDetector(recognition)
    model = onnx.load(network)
    swapped = sorted(model.graph.output, key=lambda output: output.name)  # boxes, points, scores
    del model.graph.output[:]
    model.graph.output.extend(swapped)
    onnx.save(model, tmp_path / "swapped.onnx")
    with pytest.raises(ValueError, match=r"swapped\.onnx outputs \[\(3200, 4\), .*, need \[\(12800"):
        ScrfdDetector(tmp_path / "swapped.onnx")


def test_scores_out_of_range_are_refused(tmp_path: Path) -> None:
    for score, scores in ((1.5, "0 to 1.5"), (float("nan"), "nan to nan")):
        path = write_fixed_detector(tmp_path / "wild.onnx", (100, 100, 200, 200), score)
        with pytest.raises(ValueError, match=rf"wild\.onnx outputs scores of {scores}, need finite"):
            ScrfdDetector(path)


def test_detector_runs_in_one_thread(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def watch(weights: Path, threads: int) -> Any:
        opened.append(open_onnx(weights, threads))
        return opened[-1]

    monkeypatch.setattr(faces_insightface, "open_onnx", watch)
    ScrfdDetector(network)
    assert [session.get_session_options().intra_op_num_threads for session in opened] == [1]
