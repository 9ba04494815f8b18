"""A network with the layers of SCRFD-10G with five points and random weights, to measure costs.

Its layers are those of the published configuration `scrfd_10g_bnkps`, normalisations folded into the
convolutions: a ResNet of basic blocks (3, 4, 2, 3 of them, of 56, 88, 88, 224 channels), a path-aggregating
pyramid of 56 channels, and at each of three strides three convolutions of 80 channels and three outputs.
"""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

BLOCKS: Final = (3, 4, 2, 3)
CHANNELS: Final = (56, 88, 88, 224)
PYRAMID_CHANNELS: Final = 56
HEAD_CHANNELS: Final = 80
STRIDES: Final = (8, 16, 32)
OUTPUTS: Final = {"score": 1, "box": 4, "point": 10}  # values per anchor
ANCHORS: Final = 2


class NetworkWriter:
    """Collects the nodes and weights of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._rng = np.random.default_rng(0)

    def node(self, kind: str, *inputs: str, **attributes: int | list[int] | str) -> str:
        """Add a node; returns the name of its output."""
        output = f"output{len(self.nodes)}"
        node = helper.make_node(kind, list(inputs), [output])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
        return output

    def constant(self, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        """Add a constant; returns its name."""
        name = f"constant{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def convolve(
        self, feature: str, inputs: int, outputs: int, side: int = 3, stride: int = 1, gain: float = 1.0
    ) -> str:
        """Add a convolution with same padding."""
        spread = gain * (2 / (inputs * side**2)) ** 0.5
        kernels = self._rng.normal(0, spread, (outputs, inputs, side, side)).astype(np.float32)
        bias = self.constant(np.zeros(outputs, np.float32))
        sides, steps, pads = [side, side], [stride, stride], [side // 2] * 4
        return self.node(
            "Conv", feature, self.constant(kernels), bias, kernel_shape=sides, strides=steps, pads=pads
        )

    def block(self, feature: str, inputs: int, outputs: int, stride: int) -> str:
        """Add a basic block; where the shape changes, its shortcut is pooled and convolved."""
        residual = self.node("Relu", self.convolve(feature, inputs, outputs, stride=stride))
        residual = self.convolve(residual, outputs, outputs)
        if stride > 1:
            feature = self.node("AveragePool", feature, kernel_shape=[2, 2], strides=[2, 2])
        if inputs != outputs or stride > 1:
            feature = self.convolve(feature, inputs, outputs, side=1)
        return self.node("Relu", self.node("Add", residual, feature))


def write_scrfd_10g(path: Path) -> int:
    """Write the network; returns its number of weights."""
    writer = NetworkWriter()
    features = _pyramid(writer, _backbone(writer))
    outputs_of: dict[str, list[str]] = {name: [] for name in OUTPUTS}
    for feature in features:
        shared = feature
        for inputs in (PYRAMID_CHANNELS, HEAD_CHANNELS, HEAD_CHANNELS):
            shared = writer.node("Relu", writer.convolve(shared, inputs, HEAD_CHANNELS))
        for name, width in OUTPUTS.items():
            # Scores stay near a half: filtering thousands of detections would cost more than the network.
            gain = 1e-4 if name == "score" else 1.0
            head = writer.convolve(shared, HEAD_CHANNELS, ANCHORS * width, gain=gain)
            head = writer.node("Sigmoid", head) if name == "score" else head
            head = writer.node("Transpose", head, perm=[2, 3, 0, 1])
            outputs_of[name].append(writer.node("Reshape", head, writer.constant(np.array([-1, width]))))
    shapes = [(name, ["n", width]) for kind, width in OUTPUTS.items() for name in outputs_of[kind]]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(writer.nodes, "scrfd", [picture], outputs, writer.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return sum(int(np.prod(weight.dims)) for weight in writer.weights)


def _backbone(writer: NetworkWriter) -> list[str]:
    feature, inputs = "picture", 3
    for outputs, stride in ((28, 2), (28, 1), (56, 1)):
        feature = writer.node("Relu", writer.convolve(feature, inputs, outputs, stride=stride))
        inputs = outputs
    feature = writer.node("MaxPool", feature, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    features: list[str] = []
    for stage, (blocks, outputs) in enumerate(zip(BLOCKS, CHANNELS, strict=True)):
        for number in range(blocks):
            feature = writer.block(feature, inputs, outputs, 2 if stage and not number else 1)
            inputs = outputs
        features.append(feature)
    return features[1:]


def _pyramid(writer: NetworkWriter, features: list[str]) -> list[str]:
    """Features of strides 8, 16 and 32: top-down, then bottom-up."""
    channels = PYRAMID_CHANNELS
    sides = [
        writer.convolve(each, inputs, channels, side=1)
        for each, inputs in zip(features, CHANNELS[1:], strict=True)
    ]
    twice = writer.constant(np.array([1, 1, 2, 2], np.float32))
    for number in (1, 0):
        larger = writer.node("Resize", sides[number + 1], "", twice, mode="nearest")
        sides[number] = writer.node("Add", sides[number], larger)
    feature = [writer.convolve(each, channels, channels) for each in sides]
    for number in (1, 2):
        smaller = writer.convolve(feature[number - 1], channels, channels, stride=2)
        feature[number] = writer.node("Add", feature[number], smaller)
    return [feature[0], *(writer.convolve(each, channels, channels) for each in feature[1:])]
