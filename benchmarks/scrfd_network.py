"""A network as large as SCRFD-10G with five points, of random weights: for costs alone.

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
OUTPUTS: Final = {"score": 1, "box": 4, "point": 10}  # numbers an anchor
ANCHORS: Final = 2


class NetworkWriter:
    """Nodes and weights, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._lot = np.random.default_rng(0)

    def node(self, kind: str, *taken: str, **attributes: int | list[int] | str) -> str:
        """Add a node; its output's name."""
        given = f"made{len(self.nodes)}"
        made = helper.make_node(kind, list(taken), [given])
        made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(made)
        return given

    def constant(self, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        """Keep a number or a table; its name."""
        name = f"kept{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def convolve(
        self, taken: str, inputs: int, outputs: int, side: int = 3, stride: int = 1, gain: float = 1.0
    ) -> str:
        """A convolution that keeps the picture's edge."""
        spread = gain * (2 / (inputs * side**2)) ** 0.5
        kernels = self._lot.normal(0, spread, (outputs, inputs, side, side)).astype(np.float32)
        bias = self.constant(np.zeros(outputs, np.float32))
        sides, steps, pads = [side, side], [stride, stride], [side // 2] * 4
        return self.node(
            "Conv", taken, self.constant(kernels), bias, kernel_shape=sides, strides=steps, pads=pads
        )

    def block(self, taken: str, inputs: int, outputs: int, stride: int) -> str:
        """A basic block; where its size changes, the way past it is pooled and convolved."""
        made = self.node("Relu", self.convolve(taken, inputs, outputs, stride=stride))
        made = self.convolve(made, outputs, outputs)
        if stride > 1:
            taken = self.node("AveragePool", taken, kernel_shape=[2, 2], strides=[2, 2])
        if inputs != outputs or stride > 1:
            taken = self.convolve(taken, inputs, outputs, side=1)
        return self.node("Relu", self.node("Add", made, taken))


def write_scrfd_10g(path: Path) -> int:
    """Write the network; how many weights it has."""
    writer = NetworkWriter()
    features = _pyramid(writer, _backbone(writer))
    given: dict[str, list[str]] = {name: [] for name in OUTPUTS}
    for feature in features:
        shared = feature
        for inputs in (PYRAMID_CHANNELS, HEAD_CHANNELS, HEAD_CHANNELS):
            shared = writer.node("Relu", writer.convolve(shared, inputs, HEAD_CHANNELS))
        for name, width in OUTPUTS.items():
            # Scores stay about a half: thousands of faces to sift would cost more than the network.
            gain = 1e-4 if name == "score" else 1.0
            made = writer.convolve(shared, HEAD_CHANNELS, ANCHORS * width, gain=gain)
            made = writer.node("Sigmoid", made) if name == "score" else made
            made = writer.node("Transpose", made, perm=[2, 3, 0, 1])
            given[name].append(writer.node("Reshape", made, writer.constant(np.array([-1, width]))))
    shapes = [(name, ["n", width]) for kind, width in OUTPUTS.items() for name in given[kind]]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(writer.nodes, "scrfd", [picture], outputs, writer.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return sum(int(np.prod(weight.dims)) for weight in writer.weights)


def _backbone(writer: NetworkWriter) -> list[str]:
    made, inputs = "picture", 3
    for outputs, stride in ((28, 2), (28, 1), (56, 1)):
        made = writer.node("Relu", writer.convolve(made, inputs, outputs, stride=stride))
        inputs = outputs
    made = writer.node("MaxPool", made, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    features: list[str] = []
    for stage, (blocks, outputs) in enumerate(zip(BLOCKS, CHANNELS, strict=True)):
        for number in range(blocks):
            made = writer.block(made, inputs, outputs, 2 if stage and not number else 1)
            inputs = outputs
        features.append(made)
    return features[1:]


def _pyramid(writer: NetworkWriter, features: list[str]) -> list[str]:
    """Of strides 8, 16, 32: from the coarsest down, and back up."""
    channels = PYRAMID_CHANNELS
    sides = [
        writer.convolve(each, inputs, channels, side=1)
        for each, inputs in zip(features, CHANNELS[1:], strict=True)
    ]
    twice = writer.constant(np.array([1, 1, 2, 2], np.float32))
    for number in (1, 0):
        larger = writer.node("Resize", sides[number + 1], "", twice, mode="nearest")
        sides[number] = writer.node("Add", sides[number], larger)
    made = [writer.convolve(each, channels, channels) for each in sides]
    for number in (1, 2):
        smaller = writer.convolve(made[number - 1], channels, channels, stride=2)
        made[number] = writer.node("Add", made[number], smaller)
    return [made[0], *(writer.convolve(each, channels, channels) for each in made[1:])]
