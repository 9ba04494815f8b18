"""Networks of ONNX files, run by onnxruntime; onnx and onnxruntime are imported when one is opened."""

from pathlib import Path
from typing import Any, Final

WAY_OUT: Final = "`pdfgc weights fetch buffalo_l` gets the published files"  # all that are run here are its
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
    import onnxruntime

    require_onnx(weights)
    there = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        str(weights), options, providers=[provider for provider in PROVIDERS if provider in there]
    )


def require_onnx(weights: Path) -> None:
    """Hold a file to be an ONNX model, before onnxruntime, whose errors have no class of their own to catch.

    Raises as `open_session`.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if not weights.is_file():
        raise FileNotFoundError(f"no weights at {weights}")
    try:
        onnx.checker.check_model(str(weights))
    except (DecodeError, onnx.checker.ValidationError) as error:
        # Its first sentence, which repeats the path; the next ones only say to check the file.
        first = str(error).partition("\n")[0].partition(". ")[0]
        reason = first.replace(f" from file: {weights}", "").rstrip(".") or type(error).__name__
        raise ValueError(
            f"{weights} cannot be read as an ONNX model: it is cut short, damaged or another file "
            f"({reason}); {WAY_OUT}"
        ) from error
