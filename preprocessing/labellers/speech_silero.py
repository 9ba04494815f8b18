"""Backend `silero` of the setting `clips.speech`, the default: Silero's voice activity detector, on the CPU.

The package `silero-vad` (MIT) contains the network; this module runs its ONNX file `..._16k_sequence.onnx`, a
convolutional front end and an LSTM that gives the probability of speech in windows of 512 samples, each read
with the 64 samples before it. The package itself is not imported: it would load torch.

onnxruntime is imported when the detector is opened.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.labellers.backend import Backend
from preprocessing.schema import SAMPLES_PER_FRAME

NAME: Final = "silero"
VERSION: Final = "6.2.3"  # of the package, which contains the network; pinned in the lock
PACKAGE: Final = "silero_vad"
WINDOW_SAMPLES: Final = 512
CONTEXT_SAMPLES: Final = 64
BLOCK_WINDOWS: Final = 512  # per call of the network, as in the package; bounds the memory of long videos
STATE_SHAPE: Final = (1, 1, 128)
DECIMALS: Final = 2  # of a probability: the kernels of different CPUs agree to far more


class SileroDetector:
    """The probability of speech in every video frame of a sound."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(network_file()), options, providers=["CPUExecutionProvider"]
        )

    def detect(self, path: Path) -> NDArray[np.float32]:
        """[F] probabilities of a mono 16 kHz sound file, F frames of 640 samples, the last one maybe cut."""
        context = np.zeros(CONTEXT_SAMPLES, np.float32)
        hidden, cell = np.zeros(STATE_SHAPE, np.float32), np.zeros(STATE_SHAPE, np.float32)
        found: list[NDArray[np.float32]] = []
        with soundfile.SoundFile(path) as file:
            samples = file.frames
            for block in file.blocks(BLOCK_WINDOWS * WINDOW_SAMPLES, dtype="float32"):
                windows = _windows(np.asarray(block, np.float32), context)
                context = windows[-1, -CONTEXT_SAMPLES:]
                feeds = {"input": windows, "h": hidden, "c": cell}
                probabilities, hidden, cell = self._session.run(["speech_probs", "hn", "cn"], feeds)
                found.append(probabilities.reshape(-1))
        frames = np.arange(-(-samples // SAMPLES_PER_FRAME))
        middles = np.minimum(frames * SAMPLES_PER_FRAME + SAMPLES_PER_FRAME // 2, samples - 1)
        of_windows = np.concatenate([np.zeros(0, np.float32), *found])
        return np.round(of_windows[middles // WINDOW_SAMPLES], DECIMALS).astype(np.float32)

    def close(self) -> None:
        """Nothing to free: the session goes with the object."""


def network_file() -> Path:
    """The ONNX file inside the installed package.

    Raises:
        FileNotFoundError: the package is not installed, or does not contain the file.
    """
    spec = find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        file = Path(folder) / "data" / "silero_vad_16k_sequence.onnx"
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"the speech detector's network is not installed: install silero-vad=={VERSION}, or set "
        "clips.speech.backend to none"
    )


def _windows(samples: NDArray[np.float32], context: NDArray[np.float32]) -> NDArray[np.float32]:
    """[W, 64 + 512] windows with the samples before each; the last one padded with zeros."""
    count = -(-len(samples) // WINDOW_SAMPLES)
    padded = np.zeros(CONTEXT_SAMPLES + count * WINDOW_SAMPLES, np.float32)
    padded[:CONTEXT_SAMPLES] = context
    padded[CONTEXT_SAMPLES : CONTEXT_SAMPLES + len(samples)] = samples
    view = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT_SAMPLES + WINDOW_SAMPLES)
    return np.ascontiguousarray(view[::WINDOW_SAMPLES])


BACKEND: Final = Backend(name=NAME, version=VERSION, factory=SileroDetector)
