"""TensorFlow Lite graphs of MediaPipe's wheel, whole or in parts, run by LiteRT on one thread.

The wheel's folder is enough: neither mediapipe's Python packages nor its framework are imported. LiteRT is
imported when a network is opened.
"""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from flatbuffers import Builder
from flatbuffers.flexbuffers import Loads
from numpy.typing import NDArray

FILE_IDENTIFIER: Final = b"TFL3"
INITIAL_BYTES: Final = 2**22  # of a builder; it grows


def wheel_file(name: str) -> Path:
    """A file below `mediapipe/modules`.

    Raises:
        FileNotFoundError: MediaPipe is not installed, or its release carries no such network.
    """
    spec = importlib.util.find_spec("mediapipe")  # finds the package without importing it
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        path = Path(folder) / "modules" / name
        if path.is_file():
            return path
    raise FileNotFoundError(f"no mediapipe/modules/{name}; releases after 0.10.21 carry no networks")


@cache
def _model(name: str) -> Any:
    from ai_edge_litert.schema_py_generated import ModelT

    return ModelT.InitFromPackedBuf(bytearray(wheel_file(name).read_bytes()), 0)


def part_of_graph(name: str, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Cut the operators between some tensors out of a graph.

    Args:
        name: of the file, as `wheel_file` takes it.
        inputs: tensors that the part gets.
        outputs: tensors that it computes from them.

    Returns:
        A TensorFlow Lite file.

    Raises:
        ValueError: the outputs depend on other inputs of the graph.
    """
    from ai_edge_litert.schema_py_generated import BufferT, ModelT, SubGraphT

    whole, graph = _model(name), _model(name).subgraphs[0]
    wanted, operators = set(outputs), []
    for operator in reversed(graph.operators):
        made = {int(tensor) for tensor in operator.outputs}
        if made & wanted and not made & set(inputs):
            operators.append(operator)
            wanted |= {int(tensor) for tensor in operator.inputs}
    if missing := wanted & {int(tensor) for tensor in graph.inputs} - set(inputs):
        raise ValueError(f"{name}: tensors {list(outputs)} also depend on the inputs {sorted(missing)}")
    kept = {graph.tensors[tensor].buffer for tensor in wanted}
    part, subgraph = ModelT(), SubGraphT()
    part.version, part.operatorCodes = whole.version, whole.operatorCodes
    part.buffers = [buffer if n in kept else BufferT() for n, buffer in enumerate(whole.buffers)]
    subgraph.tensors, subgraph.operators = graph.tensors, operators[::-1]
    subgraph.inputs, subgraph.outputs = list(inputs), list(outputs)
    part.subgraphs = [subgraph]
    builder = Builder(INITIAL_BYTES)
    builder.Finish(part.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def custom_options(name: str, output: int) -> dict[str, Any]:
    """The options of the custom operator that computes a tensor."""
    graph = _model(name).subgraphs[0]
    operator = next(operator for operator in graph.operators if output in operator.outputs)
    options = Loads(bytes(operator.customOptions))
    assert isinstance(options, dict)
    return options


class Network:
    """A graph that LiteRT runs with XNNPACK on one thread."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._inputs = [int(tensor["index"]) for tensor in self._interpreter.get_input_details()]
        self._outputs = [int(tensor["index"]) for tensor in self._interpreter.get_output_details()]

    def input(self, number: int = 0) -> NDArray[np.float32]:
        """The memory of an input, to write to; not to be kept while the network runs."""
        return self._interpreter.tensor(self._inputs[number])()

    def run(self) -> list[NDArray[np.float32]]:
        """Run on what the inputs hold; returns copies of the outputs."""
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output) for output in self._outputs]
