"""CSIM with a recognition model of three features: the mean of each colour."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from evaluation.metrics.metric import Measurement
from evaluation.metrics.pictures.csim_insightface import ArcFace, measure_csim
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo
from preprocessing.labellers.arcface_alignment import FIVE_POINTS, TEMPLATE_PX, aligned_face

Picture = NDArray[np.uint8]
Landmarks = NDArray[np.float32]


def write_model(path: Path, side_px: int = 112) -> Path:
    nodes = [
        helper.make_node("GlobalAveragePool", ["faces"], ["means"]),
        helper.make_node("Flatten", ["means"], ["feature"]),
    ]
    faces = helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["n", 3, side_px, side_px])
    feature = helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "toy", [faces], [feature])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> ArcFace:
    return ArcFace(write_model(tmp_path_factory.mktemp("weights") / "toy.onnx"))


def landmarks(scale: float = 2.0) -> Landmarks:
    """The template's points in a 224 px frame, pixel centre to pixel centre."""
    points = np.zeros((478, 3), np.float32)
    points[list(FIVE_POINTS), :2] = (np.asarray(TEMPLATE_PX) + 0.5) * scale - 0.5
    return points


def coloured(*colour: int) -> Picture:
    return np.full((112, 112, 3), colour, np.uint8)


def video(pictures: list[Picture], points: list[Landmarks]) -> PictureVideo:
    return PictureVideo(pictures, lambda _: np.stack(points))


def csim(
    pictures: list[Picture], points: list[Landmarks], network: ArcFace, portrait_points: Landmarks
) -> Measurement:
    reference = PictureReference(portrait=video([coloured(255, 0, 0)], [portrait_points]))
    return measure_csim(video(pictures, points), reference, network)


def test_alignment_keeps_a_face_on_the_template() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    np.testing.assert_array_equal(aligned_face(picture, landmarks()), picture)


def test_alignment_enlarges_a_face_of_half_the_size() -> None:
    picture = np.zeros((224, 224, 3), np.uint8)
    points = landmarks(scale=1.0)  # in a frame of 224 px: the face fills its upper left quarter
    eye_x, eye_y = np.round(points[FIVE_POINTS[0], :2]).astype(int)
    picture[eye_y - 3 : eye_y + 4, eye_x - 3 : eye_x + 4] = 255
    rows, columns = np.nonzero(aligned_face(picture, points)[..., 0] > 127)
    assert (columns.mean(), rows.mean()) == pytest.approx(TEMPLATE_PX[0], abs=0.6)


def test_csim_is_the_mean_cosine_over_pictures_with_a_face(network: ArcFace) -> None:
    # Features are colours in [-1, 1]: red (1, -1, -1) against itself 1, against yellow (1, 1, -1) a third.
    nowhere = np.full((478, 3), np.nan, np.float32)
    pictures = [coloured(255, 0, 0), coloured(255, 255, 0), coloured(0, 255, 0)]
    measured = csim(pictures, [landmarks(), landmarks(), nowhere], network, landmarks())
    assert measured.value == pytest.approx((1.0 + 1.0 / 3.0) / 2.0, abs=1e-5)


def test_csim_is_missing_without_a_face(network: ArcFace) -> None:
    nowhere = np.full((478, 3), np.nan, np.float32)
    red = coloured(255, 0, 0)
    assert csim([red], [landmarks()], network, nowhere).missing_because == "no face in the portrait"
    assert csim([red], [nowhere], network, landmarks()).missing_because == "no face in any picture"
    with pytest.raises(ValueError, match="zip"):
        csim([red], [landmarks()] * 2, network, landmarks())


def test_arcface_rejects_absent_and_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at"):
        ArcFace(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match="cannot be read as an ONNX model") as caught:
        ArcFace(tmp_path / "text.onnx")
    assert str(caught.value).count("text.onnx") == 1
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ValueError, match=r"empty\.onnx cannot be read as an ONNX model"):
        ArcFace(tmp_path / "empty.onnx")
    with pytest.raises(ValueError, match=r"takes faces of \(64, 64\), need 112 px"):
        ArcFace(write_model(tmp_path / "small.onnx", side_px=64))
