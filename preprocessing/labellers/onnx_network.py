"""Networks of ONNX files, run by onnxruntime; onnx and onnxruntime are imported when one is opened."""

from pathlib import Path
from typing import Any, Final

PROVIDERS: Final = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""Of onnxruntime, the fastest first; those that a machine's build has are used."""


def open_session(weights: Path, threads: int = 0) -> Any:
    """An onnxruntime session of a file, on the fastest provider that the machine has.

    Args:
        weights: the file.
        threads: of the CPU for one call; 0: onnxruntime's choice, one a core.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read as an ONNX model.
    """
    import onnx
    import onnxruntime
    from google.protobuf.message import DecodeError

    if not weights.is_file():
        raise FileNotFoundError(f"no weights at {weights}")
    try:
        # Before onnxruntime, whose errors have no class of their own to catch.
        onnx.checker.check_model(str(weights))
    except (DecodeError, onnx.checker.ValidationError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        # From None: of a failed step the innermost error is told, and onnx's says less.
        raise ValueError(f"{weights} cannot be read as an ONNX model: {told}") from None
    there = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        str(weights), options, providers=[provider for provider in PROVIDERS if provider in there]
    )
