"""Detectors of SCRFD's layout that tests can follow: a picture in; scores, boxes, points of three strides.

Two anchors a place; a box is four distances, a point two, all in strides, from the place's upper left pixel.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
WIDTHS = {"score": 1, "box": 4, "point": 10}
COLOURS = {8: (0, 2), 16: (1, 0), 32: (2, 1)}  # a place's score: half of one channel less half of another
DISTANCES = (1.0, 2.0, 3.0, 4.0)  # left, top, right, bottom of the first anchor, strides
SECOND_DISTANCES = (1.0, 2.0, 3.25, 4.0)
SECOND_SHARE = 0.75  # of the first anchor's score


def write_colour_detector(path: Path, sides: Sequence[int | str] = ("h", "w")) -> Path:
    """A red place of stride 8, a green one of 16 and a blue one of 32 is a face."""
    constants: dict[str, NDArray[np.generic]] = {
        "nought": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
        "anchors": np.array([[1.0, SECOND_SHARE]], np.float32),
        "distances": np.array([DISTANCES + SECOND_DISTANCES], np.float32),
        "offsets": np.zeros((1, 20), np.float32),
        "a_row_each": np.array([-1, 1]),
        "scores": np.array([-1, 1]),
        "boxes": np.array([-1, 4]),
        "points": np.array([-1, 10]),
    }
    nodes: list[NodeProto] = []
    for stride, (channel, other) in COLOURS.items():
        constants |= {f"mine{stride}": np.array([channel]), f"theirs{stride}": np.array([other])}
        nodes += _nodes_of(stride)
    return _save(path, nodes, constants, sides)


def _nodes_of(stride: int) -> list[NodeProto]:
    side, make = [stride, stride], helper.make_node
    nodes = [
        make("AveragePool", ["picture"], ["mean"], kernel_shape=side, strides=side),
        make("Gather", ["mean", f"mine{stride}"], ["channel"], axis=1),
        make("Gather", ["mean", f"theirs{stride}"], ["other"], axis=1),
        make("Sub", ["channel", "other"], ["apart"]),
        make("Mul", ["apart", "half"], ["halved"]),
        make("Clip", ["halved", "nought", "one"], ["score_map"]),
        make("Reshape", ["score_map", "a_row_each"], ["rows"]),
        make("Mul", ["rows", "nought"], ["empty"]),
        make("Mul", ["rows", "anchors"], ["score_table"]),
        make("Add", ["empty", "distances"], ["box_table"]),  # the same at every place
        make("Add", ["empty", "offsets"], ["point_table"]),
        make("Reshape", ["score_table", "scores"], [f"score{stride}"]),
        make("Reshape", ["box_table", "boxes"], [f"box{stride}"]),
        make("Reshape", ["point_table", "points"], [f"point{stride}"]),
    ]
    passed_on = {name for node in nodes for name in node.output if not name.endswith(str(stride))}
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [f"{name}_{stride}" if name in passed_on else name for name in names]
    return nodes


def write_fixed_detector(path: Path, box: Sequence[float], score: float = 0.9) -> Path:
    """A face at one box [left, top, right, bottom], pixels of the 640 px seen, whatever is seen."""
    column, row = (int(np.mean(box[side::2]) // 32) for side in (0, 1))
    anchor = 2 * (row * 640 // 32 + column)
    place = np.array([column, row, column, row]) * 32.0
    constants: dict[str, NDArray[np.generic]] = {"nought": np.array(0, np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["zero"]),
    ]
    for stride in STRIDES:
        places = 2 * (640 // stride) ** 2
        made = {f"{name}{stride}": np.zeros((places, width), np.float32) for name, width in WIDTHS.items()}
        if stride == 32:
            made["score32"][anchor] = score
            made["box32"][anchor] = (np.array(box) - place) * [-1, -1, 1, 1] / 32
        for name, value in made.items():
            constants[f"fixed_{name}"] = value
            nodes.append(helper.make_node("Add", [f"fixed_{name}", "zero"], [name]))
    return _save(path, nodes, constants, ("h", "w"))


def _save(
    path: Path,
    nodes: Sequence[NodeProto],
    constants: Mapping[str, NDArray[np.generic]],
    sides: Sequence[int | str],
) -> Path:
    taken = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, *sides])
    given = [
        helper.make_tensor_value_info(f"{name}{stride}", TensorProto.FLOAT, [f"n{stride}", width])
        for name, width in WIDTHS.items()
        for stride in STRIDES
    ]
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "toy", [taken], given, kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
