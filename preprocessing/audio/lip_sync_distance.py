"""Distance of embedded pictures from embedded sound for every shift, the basis of all SyncNet protocols.

Shape letters: n windows, one for each frame at 25 fps; D width of an embedding.
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
    """Mean distance over all windows, for every shift.

    Args:
        video: [n, D].
        sound: [n, D].
        beyond: before the sound's start and after its end: `zeros`, as in SyncNet's published programs, or
            `left out`: the mean is over the n - |s| windows that have sound.

    Returns:
        [31]: mean over t of |video[t] - sound[t + s] + 1e-6|, Euclidean, for s = -15 to 15.

    Raises:
        ValueError: `left out`, and n <= 15.
    """
    count = len(video)
    if beyond == "left out" and count <= MAXIMUM_SHIFT_FRAMES:
        raise ValueError(f"need more than {MAXIMUM_SHIFT_FRAMES} windows, got {count}")
    padded = np.pad(sound, ((MAXIMUM_SHIFT_FRAMES, MAXIMUM_SHIFT_FRAMES), (0, 0)))
    means: list[float] = []
    for place in range(SHIFT_COUNT):
        shift = place - MAXIMUM_SHIFT_FRAMES
        inside = slice(max(0, -shift), count - max(0, shift)) if beyond == "left out" else slice(None)
        difference = video.astype(np.float64) - padded[place : place + count] + DISTANCE_EPSILON
        means.append(float(np.linalg.norm(difference[inside], axis=1).mean()))
    return np.asarray(means, np.float64)
