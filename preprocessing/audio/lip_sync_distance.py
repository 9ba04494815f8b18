"""How far embedded pictures lie from embedded sound, shift by shift: what every SyncNet protocol rests on.

Shape letters: n instants, one a frame at 25 frames a second; D width of an embedding.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

MAXIMUM_SHIFT_FRAMES: Final = 15
SHIFT_COUNT: Final = 2 * MAXIMUM_SHIFT_FRAMES + 1
DISTANCE_EPSILON: Final = 1e-6  # added to every difference, as torch's pairwise distance does
Beyond = Literal["zeros", "left out"]


def distances_by_shift(
    video: NDArray[np.float32], sound: NDArray[np.float32], beyond: Beyond = "zeros"
) -> NDArray[np.float64]:
    """Mean distance over all instants, shift by shift.

    Args:
        video: [n, D].
        sound: [n, D].
        beyond: What a shift asks for before the sound's beginning and behind its end: `zeros`, as SyncNet's
            published programs have it; `left out`, the mean is over the n - |s| instants that have sound.

    Returns:
        [31]: mean over t of |video[t] - sound[t + s] + 1e-6|, Euclidean, for s = -15 to 15.

    Raises:
        ValueError: `left out`, and a shift leaves no instant: n is 15 or less.
    """
    count = len(video)
    if beyond == "left out" and count <= MAXIMUM_SHIFT_FRAMES:
        raise ValueError(f"{count} instants leave none at a shift of {MAXIMUM_SHIFT_FRAMES}")
    padded = np.pad(sound, ((MAXIMUM_SHIFT_FRAMES, MAXIMUM_SHIFT_FRAMES), (0, 0)))
    means: list[float] = []
    for place in range(SHIFT_COUNT):
        shift = place - MAXIMUM_SHIFT_FRAMES
        there = slice(max(0, -shift), count - max(0, shift)) if beyond == "left out" else slice(None)
        difference = video.astype(np.float64) - padded[place : place + count] + DISTANCE_EPSILON
        means.append(float(np.linalg.norm(difference[there], axis=1).mean()))
    return np.asarray(means, np.float64)
