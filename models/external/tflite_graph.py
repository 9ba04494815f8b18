"""TensorFlow Lite graphs as frozen torch modules with gradients, for the face networks of MediaPipe.

Reads the few flatbuffer tables that plain convolutional networks use and runs the operators in torch, so that
a loss can pass through the network into its input. Float16 weights, stored behind DEQUANTIZE, are converted
to float32 once. Graphs with other operators are refused; parts of such graphs that lie between them are not.

Shape letters: B samples, C channels, H, W rows and columns.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from flatbuffers import flexbuffers, number_types
from flatbuffers.table import Table
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

FILE_IDENTIFIER: Final = b"TFL3"
DTYPES: Final = {0: np.float32, 1: np.float16, 2: np.int32}  # schema.fbs, TensorType
# schema.fbs, BuiltinOperator
OPERATORS: Final = {
    0: "ADD",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    22: "RESHAPE",
    34: "PAD",
    54: "PRELU",
}
ACTIVATIONS: Final[dict[int, Callable[[Tensor], Tensor]]] = {  # schema.fbs, ActivationFunctionType
    0: lambda maps: maps,
    1: functional.relu,
    3: functional.relu6,
}
SAME: Final = 0  # schema.fbs, Padding


@dataclass(frozen=True)
class Operation:
    """One operator: tensor numbers in and out, and its options by name."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclass(frozen=True)
class Graph:
    """A parsed graph. Tensors are numbered; constants are NHWC arrays as stored."""

    constants: dict[int, NDArray[Any]]
    shapes: dict[int, tuple[int, ...]]
    operations: tuple[Operation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


OPTIONS: Final[dict[str, dict[str, tuple[int, Any, int]]]] = {
    # option -> (field number in schema.fbs, type, default)
    "CONV_2D": {
        "padding": (0, number_types.Int8Flags, 0),
        "stride_w": (1, number_types.Int32Flags, 0),
        "stride_h": (2, number_types.Int32Flags, 0),
        "activation": (3, number_types.Int8Flags, 0),
        "dilation_w": (4, number_types.Int32Flags, 1),
        "dilation_h": (5, number_types.Int32Flags, 1),
    },
    "DEPTHWISE_CONV_2D": {
        "padding": (0, number_types.Int8Flags, 0),
        "stride_w": (1, number_types.Int32Flags, 0),
        "stride_h": (2, number_types.Int32Flags, 0),
        "multiplier": (3, number_types.Int32Flags, 0),
        "activation": (4, number_types.Int8Flags, 0),
        "dilation_w": (5, number_types.Int32Flags, 1),
        "dilation_h": (6, number_types.Int32Flags, 1),
    },
    "MAX_POOL_2D": {
        "padding": (0, number_types.Int8Flags, 0),
        "stride_w": (1, number_types.Int32Flags, 0),
        "stride_h": (2, number_types.Int32Flags, 0),
        "filter_w": (3, number_types.Int32Flags, 0),
        "filter_h": (4, number_types.Int32Flags, 0),
        "activation": (5, number_types.Int8Flags, 0),
    },
    "ADD": {"activation": (0, number_types.Int8Flags, 0)},
    "CONCATENATION": {
        "axis": (0, number_types.Int32Flags, 0),
        "activation": (1, number_types.Int8Flags, 0),
    },
}


def read_graph(path: Path, inputs: Sequence[int] = (), outputs: Sequence[int] = ()) -> Graph:
    """Parse a TensorFlow Lite file with one subgraph, or a part of it.

    Args:
        path: the file.
        inputs: tensors that the part gets; those of the file if empty.
        outputs: tensors that it computes from them; those of the file if empty.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a TensorFlow Lite file, an operator or tensor type that is not supported, or outputs
            that depend on other inputs.
    """
    model = _read_model(path)
    codes = _tables(model, 1)
    (subgraph,) = _tables(model, 2)
    buffers, tensors = _tables(model, 4), _tables(subgraph, 0)
    own = _integers(subgraph, 1)
    given, wanted = tuple(inputs) or own, tuple(outputs) or _integers(subgraph, 2)
    operators = _operators_between(_tables(subgraph, 3), given, wanted)
    needed = {*given, *wanted}.union(
        *(_integers(operator, field) for operator in operators for field in (1, 2))
    )
    if missing := needed & set(own) - set(given):
        raise ValueError(f"{path}: tensors {list(wanted)} also depend on the inputs {sorted(missing)}")
    constants: dict[int, NDArray[Any]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for number in sorted(needed - {-1}):
        tensor = tensors[number]
        shapes[number] = _integers(tensor, 0)
        content = _bytes(buffers[_scalar(tensor, 2, number_types.Uint32Flags, 0)], 0)
        if len(content):
            kind = _scalar(tensor, 1, number_types.Int8Flags, 0)
            if kind not in DTYPES:
                raise ValueError(f"{path}: tensor {number} has the unsupported type {kind}")
            constants[number] = np.frombuffer(content, DTYPES[kind]).reshape(shapes[number])
    operations = tuple(_operation(path, operator, codes) for operator in operators)
    return Graph(constants, shapes, operations, given, wanted)


def read_custom_options(path: Path, tensor: int) -> dict[str, Any]:
    """The options of the custom operator that computes a tensor.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a TensorFlow Lite file, or no custom operator computes the tensor.
    """
    (subgraph,) = _tables(_read_model(path), 2)
    for operator in _tables(subgraph, 3):
        if tensor in _integers(operator, 2) and (content := _bytes(operator, 5)):
            options = flexbuffers.Loads(content)
            assert isinstance(options, dict)
            return options
    raise ValueError(f"{path}: no custom operator computes tensor {tensor}")


def _read_model(path: Path) -> Table:
    data = path.read_bytes()
    if data[4:8] != FILE_IDENTIFIER:
        raise ValueError(f"{path}: not a TensorFlow Lite file")
    return Table(data, int.from_bytes(data[:4], "little"))


def _operators_between(
    operators: Sequence[Table], inputs: Sequence[int], outputs: Sequence[int]
) -> list[Table]:
    """The operators that compute the outputs from the inputs, in their order."""
    wanted, kept = set(outputs), list[Table]()
    for operator in reversed(operators):
        made = set(_integers(operator, 2))
        if made & wanted and not made & set(inputs):
            kept.append(operator)
            wanted |= set(_integers(operator, 1))
    return kept[::-1]


class TFLiteNetwork(nn.Module):
    """A graph as a module: maps [B, C, H, W] in, one for each input, and every output [B, ...] out.

    Vectors have the order of NHWC; maps are [B, C, H, W].

    Weights are buffers: the network is frozen, gradients reach its input only.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._operations = tuple(step for step in graph.operations if step.kind != "DEQUANTIZE")
        self._inputs, self._outputs, self._shapes = graph.inputs, graph.outputs, graph.shapes
        constants = dict(graph.constants)
        for step in graph.operations:
            if step.kind == "DEQUANTIZE":
                constants[step.outputs[0]] = constants[step.inputs[0]].astype(np.float32)
        used = {number for step in self._operations for number in step.inputs}
        kinds = {step.inputs[1]: step.kind for step in self._operations if len(step.inputs) > 1}
        # Numbers that shape the computation stay on the host, whatever device the network is moved to.
        on_host = {step.inputs[1] for step in self._operations if step.kind == "PAD"}
        self._paddings = {number: torch.from_numpy(np.array(constants[number])) for number in on_host}
        self._constants = frozenset(used & constants.keys() - on_host)
        for number in sorted(self._constants):
            value = _to_torch(constants[number], kinds.get(number))
            # Others' weights, which no checkpoint holds.
            self.register_buffer(f"constant_{number}", value, persistent=False)

    @property
    def input_side_px(self) -> int:
        """Side of the square input picture."""
        return self._shapes[self._inputs[0]][1]

    @override
    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Run the graph on maps [B, C, H, W], pictures in the value range that the network was trained on."""
        values = {**dict(zip(self._inputs, maps, strict=True)), **self._paddings}
        for step in self._operations:
            arguments = [
                self.get_buffer(f"constant_{number}") if number in self._constants else values[number]
                for number in step.inputs
                if number >= 0
            ]
            values[step.outputs[0]] = run_operation(step, arguments, self._shapes[step.outputs[0]])
        return tuple(values[number] for number in self._outputs)


def run_operation(step: Operation, arguments: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Run one operator on tensors in torch's layout; `shape` is the NHWC shape of its output."""
    options = step.options
    activation = ACTIVATIONS[options.get("activation", 0)]
    match step.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            return activation(_convolve(step, arguments))
        case "MAX_POOL_2D":
            filters = (options["filter_h"], options["filter_w"])
            strides = (options["stride_h"], options["stride_w"])
            maps = _pad_same(arguments[0], filters, strides, options["padding"], -math.inf)
            return activation(functional.max_pool2d(maps, filters, strides))
        case "ADD":
            return activation(arguments[0] + arguments[1])
        case "PRELU":
            return functional.prelu(*arguments)
        case "PAD":
            maps, paddings = arguments
            before_after = [int(number) for row in (3, 2, 1) for number in paddings[_NHWC_OF[row]]]
            return functional.pad(maps, before_after)
        case "CONCATENATION":
            return activation(torch.cat(arguments, dim=_NCHW_OF[options["axis"] % 4]))
        case "LOGISTIC":
            return arguments[0].sigmoid()
        case "RESHAPE":
            return arguments[0].permute(0, 2, 3, 1).reshape(len(arguments[0]), *shape[1:])
        case _:
            raise AssertionError(step.kind)


_NHWC_OF: Final = {1: 3, 2: 1, 3: 2}  # NCHW axis -> NHWC axis
_NCHW_OF: Final = {0: 0, 1: 2, 2: 3, 3: 1}


def _convolve(step: Operation, arguments: Sequence[Tensor]) -> Tensor:
    maps, weight, *bias = arguments
    options = step.options
    strides = (options["stride_h"], options["stride_w"])
    dilations = (options["dilation_h"], options["dilation_w"])
    spans = tuple(
        1 + (side - 1) * dilation for side, dilation in zip(weight.shape[2:], dilations, strict=True)
    )
    maps = _pad_same(maps, (spans[0], spans[1]), strides, options["padding"], 0.0)
    groups = maps.shape[1] if step.kind == "DEPTHWISE_CONV_2D" else 1
    return functional.conv2d(maps, weight, bias[0] if bias else None, strides, 0, dilations, groups)


def _pad_same(
    maps: Tensor, filters: tuple[int, int], strides: tuple[int, int], padding: int, value: float
) -> Tensor:
    """TensorFlow's SAME padding: the odd pixel goes below and to the right."""
    if padding != SAME:
        return maps
    amounts: list[int] = []
    for side, span, stride in zip(maps.shape[:1:-1], filters[::-1], strides[::-1], strict=True):
        total = max((math.ceil(side / stride) - 1) * stride + span - side, 0)
        amounts += [total // 2, total - total // 2]
    return functional.pad(maps, amounts, value=value) if any(amounts) else maps


def _to_torch(constant: NDArray[Any], kind: str | None) -> Tensor:
    """A constant in torch's layout: weights [O, I, H, W], slopes [C], others as they are."""
    tensor = torch.tensor(np.array(constant))
    if kind == "CONV_2D" and tensor.ndim == 4:
        return _channels_last(tensor.permute(0, 3, 1, 2))
    if kind == "DEPTHWISE_CONV_2D" and tensor.ndim == 4:
        return _channels_last(tensor.permute(3, 0, 1, 2))
    if kind == "PRELU":
        return tensor.flatten()
    return tensor


def _channels_last(weight: Tensor) -> Tensor:
    """Convolutions of this layout take half the time on a CPU."""
    return weight.contiguous(memory_format=torch.channels_last)


def _operation(path: Path, operator: Table, codes: Sequence[Table]) -> Operation:
    kind = _operator_name(path, codes[_scalar(operator, 0, number_types.Uint32Flags, 0)])
    offset = operator.Offset(_slot(4))
    options: dict[str, int] = {}
    if offset and kind in OPTIONS:
        table = Table(operator.Bytes, operator.Indirect(operator.Pos + offset))
        options = {
            name: _scalar(table, field, flags, default)
            for name, (field, flags, default) in OPTIONS[kind].items()
        }
    return Operation(kind, _integers(operator, 1), _integers(operator, 2), options)


def _operator_name(path: Path, code: Table) -> str:
    # Older files hold the code in a byte, newer ones in an integer; the larger counts (schema.fbs).
    number = max(_scalar(code, 0, number_types.Int8Flags, 0), _scalar(code, 3, number_types.Int32Flags, 0))
    if number not in OPERATORS:
        known = ", ".join(OPERATORS.values())
        raise ValueError(f"{path}: operator {number} is not supported; supported: {known}")
    return OPERATORS[number]


def _slot(field: int) -> int:
    """Place of a field in a flatbuffer's table of offsets."""
    return 4 + 2 * field


def _scalar(table: Table, field: int, flags: Any, default: int) -> int:
    offset = table.Offset(_slot(field))
    return int(table.Get(flags, table.Pos + offset)) if offset else default


def _tables(table: Table, field: int) -> list[Table]:
    offset = table.Offset(_slot(field))
    if not offset:
        return []
    start = table.Vector(offset)
    return [
        Table(table.Bytes, table.Indirect(start + 4 * number)) for number in range(table.VectorLen(offset))
    ]


def _integers(table: Table, field: int) -> tuple[int, ...]:
    offset = table.Offset(_slot(field))
    if not offset:
        return ()
    start, count = table.Vector(offset), table.VectorLen(offset)
    return tuple(int(number) for number in np.frombuffer(table.Bytes, "<i4", count, start))


def _bytes(table: Table, field: int) -> bytes:
    offset = table.Offset(_slot(field))
    if not offset:
        return b""
    start = table.Vector(offset)
    return bytes(table.Bytes[start : start + table.VectorLen(offset)])
