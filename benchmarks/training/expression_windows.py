"""What the mean over the expression window leaves of a clip's motion, for several windows.

Motion of the demo corpus as it is rendered, in clips of 64 frames; no video is made. For each window: the
share of the clip's variance that the mean has, and the mean's correlation with the frame's own value.

    python -m benchmarks.training.expression_windows [--clips 150]
"""

from collections.abc import Callable, Mapping
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import show
from demo_corpus.motion import draw_motion
from preprocessing.schema import MAXIMUM_CLIP_FRAMES
from training.data.draws import draw_spread

Draw = Callable[[int, np.random.Generator], list[int]]  # the window's frames around one of a clip


def consecutive(count: int) -> Draw:
    """The K frames around the driving one."""

    def draw(frame: int, _: np.random.Generator) -> list[int]:
        first = min(max(frame - count // 2, 0), MAXIMUM_CLIP_FRAMES - count)
        return list(range(first, first + count))

    return draw


def spread(count: int, span: int = MAXIMUM_CLIP_FRAMES) -> Draw:
    """K frames spread over `span` frames around the driving one."""

    def draw(frame: int, rng: np.random.Generator) -> list[int]:
        first = min(max(frame - span // 2, 0), MAXIMUM_CLIP_FRAMES - span)
        return [frame, *(first + other for other in draw_spread(span, frame - first, count, rng))]

    return draw


WINDOWS: Final[Mapping[str, Draw]] = {
    "5 consecutive": consecutive(5),
    "9 consecutive": consecutive(9),
    "25 consecutive": consecutive(25),
    "51 consecutive": consecutive(51),
    "5 spread over 25": spread(5, 25),
    "5 spread over the clip": spread(5),
    "9 spread over the clip": spread(9),
}


def motion_of_clip(seed: int) -> dict[str, NDArray[np.float64]]:
    """Curves [T] by name."""
    motion = draw_motion(np.random.default_rng(seed), MAXIMUM_CLIP_FRAMES, long_shut=False)
    return {
        "yaw": motion.angles_rad[:, 1],
        "pitch": motion.angles_rad[:, 0],
        "gaze sideways": motion.gaze_rad[:, 1],
        "blink": motion.blink.mean(axis=1),
        "smile": motion.smile,
        "brows": motion.brow_raise,
    }


@click.command(help=__doc__)
@click.option("--clips", default=150, show_default=True)
def main(clips: int) -> None:
    """Average and compare."""
    curves = [motion_of_clip(seed) for seed in range(clips)]
    names, rows = list(curves[0]), list[list[str]]()
    for title, draw in WINDOWS.items():
        rng = np.random.default_rng(0)
        windows = [draw(frame, rng) for frame in range(MAXIMUM_CLIP_FRAMES)]
        row = [title]
        for name in names:
            own = np.stack([curve[name] for curve in curves])
            mean = np.stack([own[:, window].mean(axis=1) for window in windows], axis=1)
            own, mean = (values - values.mean(axis=1, keepdims=True) for values in (own, mean))
            share = (mean**2).sum() / (own**2).sum()
            correlation = (mean * own).sum() / np.sqrt((mean**2).sum() * (own**2).sum())
            row.append(f"{share:.2f}, r {correlation:.2f}")
        rows.append(row)
    show(f"{clips} clips: share of the variance, r with the frame's value", ["mean over", *names], rows)


if __name__ == "__main__":
    main()
