"""The audio network's input for every video frame of a sound of any length, a few frames at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from preprocessing.audio.mel import loudness_of, mel_rows
from preprocessing.schema import FRAMES_BEFORE, MEL_BANDS, MEL_ROWS_BEFORE, VideoSound
from training.data.batches import MEL_WINDOW_FRAMES


def mel_windows(
    sound: NDArray[np.float32], frames: int, batch_frames: int, video_sound: VideoSound | None = None
) -> Iterator[NDArray[np.float32]]:
    """Mel windows of video frames 0 to `frames` - 1, as in training, in batches.

    Frame t covers samples 640 t to 640 (t + 1); its window is mel rows 4 (t - 2) to 4 (t - 2) + 19, centred
    35 ms before the frame, as the released networks were trained. Beyond its ends the sound is silent, as
    that of a video in training; `video_sound` gives what is there if the sound is a clip's.

    Args:
        sound: [n] mono at 16 kHz; its loudness is normalised as a whole, or by its video's.
        frames: number of video frames.
        batch_frames: number of windows in an array.
        video_sound: of the clip.

    Yields:
        [batch_frames or the rest, 1, 80, 20] in [0, 1].
    """
    loudness, zero = loudness_of(sound), 0  # the row of the clip's first sample
    if video_sound is not None:
        loudness, zero = video_sound.loudness, 4 * FRAMES_BEFORE
        sound = video_sound.around(sound)
    for start in range(0, frames, batch_frames):
        count = min(frames - start, batch_frames)
        first = zero + 4 * start - MEL_ROWS_BEFORE
        values = mel_rows(sound, first, first + 4 * (count - 1) + MEL_WINDOW_FRAMES, loudness)
        windows = np.lib.stride_tricks.sliding_window_view(values, MEL_WINDOW_FRAMES, axis=0)[::4]
        yield np.ascontiguousarray(windows)[:, None]


def silent_window() -> NDArray[np.float32]:
    """[1, 1, 80, 20] of silence: zeros, 100 dB below the reference."""
    return np.zeros((1, 1, MEL_BANDS, MEL_WINDOW_FRAMES), np.float32)
