"""Networks that backends run: of `hubconf.py` through torch.hub, or of ONNX files.

torch, onnx and onnxruntime are imported when a network is opened.
"""

from pathlib import Path
from typing import Any, Final

ONNX_HELP: Final = "run `pdfgc weights fetch buffalo_l` for the published files"  # the one set of ONNX files
PROVIDERS: Final = ("CUDAExecutionProvider", "CPUExecutionProvider")  # of onnxruntime, the fastest first


def load_from_hub(entry: str, checkpoint: Path) -> Any:
    """Load a network through an entry of this project's `hubconf.py`, on the CPU.

    `models` is reached this way because `preprocessing` does not import it.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the checkpoint cannot be read with `weights_only`, or does not fit the entry.
    """
    import torch

    if not checkpoint.is_file():
        raise FileNotFoundError(f"no weights at {checkpoint}")
    return torch.hub.load(_hub_folder(), entry, source="local", checkpoint=checkpoint)


def load_embedded(entry: str) -> Any:
    """Load a network whose weights an installed package carries, as `load_from_hub`.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    import torch

    return torch.hub.load(_hub_folder(), entry, source="local")


def _hub_folder() -> str:
    """Of `hubconf.py`: beside the packages in a checkout, inside `models` in an installed wheel."""
    project = Path(__file__).parents[2]
    return str(next(folder for folder in (project, project / "models") if (folder / "hubconf.py").is_file()))


def fastest_device() -> Any:
    """The torch device to run on: the GPU if there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_onnx(weights: Path, threads: int = 0) -> Any:
    """Open an onnxruntime session on the fastest provider of this machine.

    Args:
        weights: an ONNX file.
        threads: CPU threads of one call; 0 for one a core.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be read as an ONNX model.
    """
    import onnxruntime

    check_onnx(weights)
    available = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        str(weights), options, providers=[provider for provider in PROVIDERS if provider in available]
    )


def check_onnx(weights: Path) -> None:
    """Check that a file is an ONNX model; onnxruntime's own errors have no class to catch.

    Raises as `open_onnx`.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if not weights.is_file():
        raise FileNotFoundError(f"no weights at {weights}")
    try:
        onnx.checker.check_model(str(weights))
    except (DecodeError, onnx.checker.ValidationError) as error:
        # Only the first sentence says what is wrong; it repeats the path.
        first = str(error).partition("\n")[0].partition(". ")[0]
        reason = first.replace(f" from file: {weights}", "").rstrip(".") or type(error).__name__
        raise ValueError(
            f"{weights} cannot be read as an ONNX model: it is cut short, damaged or another file "
            f"({reason}); {ONNX_HELP}"
        ) from error
