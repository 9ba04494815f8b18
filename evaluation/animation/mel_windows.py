"""The audio network's input for every video frame of a sound of any length, a few frames at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from preprocessing.audio.mel import loudness_of, mel_rows
from preprocessing.schema import MEL_BANDS
from training.data.batches import MEL_WINDOW_FRAMES
from training.data.draws import mel_window_rows


def mel_windows(sound: NDArray[np.float32], frames: int, batch_frames: int) -> Iterator[NDArray[np.float32]]:
    """Mel windows of video frames 0 to `frames` - 1, as in training, in batches.

    Frame t covers samples 640 t to 640 (t + 1); its window is mel rows 4 (t - 2) to 4 (t - 2) + 19, centred
    35 ms before the frame, as the released networks were trained. Beyond its ends the sound is silent.

    Args:
        sound: [n] mono at 16 kHz; its loudness is normalised as a whole.
        frames: number of video frames.
        batch_frames: number of windows in an array.

    Yields:
        [batch_frames or the rest, 1, 80, 20] in [0, 1].
    """
    loudness = loudness_of(sound)
    for start in range(0, frames, batch_frames):
        rows = np.stack([mel_window_rows(t, frames) for t in range(start, min(frames, start + batch_frames))])
        first = int(rows.min())
        values = mel_rows(sound, first, int(rows.max()) + 1, loudness)
        yield np.ascontiguousarray(values[rows - first].transpose(0, 2, 1))[:, None]


def silent_window() -> NDArray[np.float32]:
    """[1, 1, 80, 20] of silence: zeros, 100 dB below the reference."""
    return np.zeros((1, 1, MEL_BANDS, MEL_WINDOW_FRAMES), np.float32)
