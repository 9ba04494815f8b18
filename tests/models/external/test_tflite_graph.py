import importlib.util
from pathlib import Path

import pytest
import torch

from models.external.tflite_graph import (
    Operation,
    TFLiteNetwork,
    read_custom_options,
    read_graph,
    run_operation,
)

MEDIAPIPE = Path(importlib.util.find_spec("mediapipe").origin or "").parent  # pyright: ignore[reportOptionalMemberAccess]
FACE_LANDMARK = MEDIAPIPE / "modules" / "face_landmark"


def test_same_padding_puts_the_odd_pixel_last() -> None:
    # 4 columns, filter 3, stride 2: TensorFlow pads one pixel, below and to the right.
    options = {"padding": 0, "stride_w": 2, "stride_h": 2, "dilation_w": 1, "dilation_h": 1, "activation": 0}
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 0, 0] = 1.0  # picks the top-left pixel of each window
    output = run_operation(Operation("CONV_2D", (0, 1), (2,), options), [image, weight], (1, 2, 2, 1))
    assert output.tolist() == [[[[0.0, 2.0], [8.0, 10.0]]]]


def test_prelu_has_a_slope_per_channel() -> None:
    image = torch.tensor([-1.0, -1.0]).reshape(1, 2, 1, 1)
    slopes = torch.tensor([0.5, 0.25])
    output = run_operation(Operation("PRELU", (0, 1), (2,), {}), [image, slopes], (1, 1, 1, 2))
    assert output.flatten().tolist() == [-0.5, -0.25]


def test_gradients_reach_the_image_and_not_the_weights() -> None:
    network = TFLiteNetwork(read_graph(FACE_LANDMARK / "face_landmark.tflite"))
    image = torch.rand(1, 3, 192, 192, requires_grad=True)
    points, score = network(image)
    assert points.shape == (1, 1404, 1, 1)
    assert score.shape == (1, 1, 1, 1)
    points.sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert not list(network.parameters())


@pytest.mark.parametrize("file", ["face_landmark/face_landmark.tflite", "iris_landmark/iris_landmark.tflite"])
def test_graphs_equal_tensorflow_lite(file: str) -> None:
    interpreters = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert, TensorFlow Lite's runtime, is not installed"
    )
    path = MEDIAPIPE / "modules" / file
    network = TFLiteNetwork(read_graph(path))
    side = network.input_side_px
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    interpreter = interpreters.Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    interpreter.set_tensor(given["index"], picture.permute(0, 2, 3, 1).numpy())
    interpreter.invoke()
    outputs = network(picture)
    details = interpreter.get_output_details()
    assert len(outputs) == len(details)
    for output, detail in zip(outputs, details, strict=True):
        expected = torch.from_numpy(interpreter.get_tensor(detail["index"]))
        assert output.numel() == expected.numel()
        torch.testing.assert_close(output.flatten(), expected.flatten(), rtol=1e-3, atol=1e-2)


def test_other_operators_are_refused() -> None:
    with pytest.raises(ValueError, match=r"attention\.tflite: operator 18 is not supported; supported: ADD"):
        read_graph(FACE_LANDMARK / "face_landmark_with_attention.tflite")


def test_part_of_a_graph_needs_its_inputs() -> None:
    path = FACE_LANDMARK / "face_landmark_with_attention.tflite"
    with pytest.raises(ValueError, match=r"tensors \[697\] also depend on the inputs \[0\]"):
        read_graph(path, [200], [697])
    assert read_graph(path, [199], [697]).inputs == (199,)


def test_custom_options_are_those_of_the_operator() -> None:
    path = FACE_LANDMARK / "face_landmark_with_attention.tflite"
    options = read_custom_options(path, 197)
    assert (options["left_rotation_idx"], options["right_rotation_idx"]) == (33, 133)
    assert len(options["subset_idxs"]) == 71
    with pytest.raises(ValueError, match="no custom operator computes tensor 35"):
        read_custom_options(path, 35)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"no flatbuffer")
    with pytest.raises(ValueError, match=r"model\.tflite: not a TensorFlow Lite file"):
        read_graph(path)
