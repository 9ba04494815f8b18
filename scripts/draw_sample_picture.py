"""Draw `docs/pictures/sample.png`: what one training sample holds, without showing a face.

    python scripts/draw_sample_picture.py SHARD.tar docs/pictures/sample.png

Shows the landmarks of six frames with head axes and gaze, and below them the labels and the sound over
time. Only landmarks are drawn, never the pictures.
"""

import sys
import tarfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mediapipe.python.solutions.face_mesh_connections import FACEMESH_CONTOURS, FACEMESH_TESSELATION
from numpy.typing import NDArray

from preprocessing.pictures.gaze_sheet import gaze_arrow_px
from preprocessing.pictures.pose_sheet import project_axes
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLE_RATE_HZ, ClipSample
from preprocessing.shards import decode_sample

FRAMES = 6
CROP_SIDE_PX = 224
IMAGE_LEFT_IRIS, IMAGE_RIGHT_IRIS = 468, 473
INK, MESH, PAPER = "#1f2933", "#b8c4ce", "#ffffff"
AXES_COLOURS = ("#d64545", "#3f9142", "#2c6fbb")
GAZE_COLOUR = "#e08600"


def read_samples(shard: Path) -> list[ClipSample]:
    """Every sample of a shard."""
    members: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shard) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            key, name = entry.name.split(".", 1)
            members.setdefault(key, {})[name] = file.read()
    return [decode_sample(key, files) for key, files in members.items()]


def motion(sample: ClipSample) -> float:
    """How much pose and gaze vary in a sample whose eyes blink but are mostly open."""
    labels = sample.labels
    blinks = 0.02 < labels.blink.mean() < 0.15 and labels.blink.max() > 0.8
    return float(labels.pose[:, :3].std(axis=0).sum() + labels.gaze.std(axis=0).sum()) if blinks else 0.0


def draw_frame(axes: Axes, sample: ClipSample, frame: int) -> None:
    """Draw one frame's mesh, head axes and gaze."""
    points = sample.clip.landmarks_px[frame]
    for connections, colour, width in ((FACEMESH_TESSELATION, MESH, 0.35), (FACEMESH_CONTOURS, INK, 0.9)):
        for start, end in connections:
            axes.plot(points[[start, end], 0], points[[start, end], 1], color=colour, linewidth=width)
    origin, *tips = project_axes(sample.labels.pose[frame])
    for tip, colour in zip(tips, AXES_COLOURS, strict=True):
        axes.plot([origin[0], tip[0]], [origin[1], tip[1]], color=colour, linewidth=2)
    offset = gaze_arrow_px(sample.labels.pose[frame], sample.labels.gaze[frame])
    for iris in (IMAGE_LEFT_IRIS, IMAGE_RIGHT_IRIS):
        axes.annotate(
            "",
            xy=tuple(points[iris, :2] + offset),
            xytext=tuple(points[iris, :2]),
            arrowprops={"arrowstyle": "->", "color": GAZE_COLOUR, "linewidth": 1.6},
        )
    axes.set(xlim=(15, CROP_SIDE_PX - 15), ylim=(CROP_SIDE_PX - 5, 5), aspect="equal")
    axes.set_title(f"{frame / FRAMES_PER_SECOND:.2f} s", fontsize=8, color=INK)
    axes.axis("off")


def draw_series(
    axes: Axes, title: str, seconds: NDArray[np.float64], series: dict[str, NDArray[np.float32]]
) -> None:
    """Draw labels over time."""
    for (name, values), colour in zip(series.items(), (*AXES_COLOURS, GAZE_COLOUR), strict=False):
        axes.plot(seconds, values, color=colour, linewidth=1.2, label=name)
    axes.set_ylabel(title, fontsize=8, color=INK)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def draw(sample: ClipSample) -> Figure:
    """Draw a sample."""
    figure = plt.figure(figsize=(10, 5.6), facecolor=PAPER, layout="constrained")
    grid = figure.add_gridspec(5, FRAMES, height_ratios=(3.2, 1, 1, 1, 1))
    labels, count = sample.labels, sample.clip.frame_count
    for column, frame in enumerate(np.linspace(0, count - 1, FRAMES).astype(int)):
        draw_frame(figure.add_subplot(grid[0, column]), sample, int(frame))
    seconds = np.arange(count) / FRAMES_PER_SECOND
    rows = {
        "pose, °": {n: np.degrees(labels.pose[:, i]) for i, n in enumerate(("pitch", "yaw", "roll"))},
        "gaze, °": {n: np.degrees(labels.gaze[:, i]) for i, n in enumerate(("pitch", "yaw"))},
        "blink": {n: labels.blink[:, i] for i, n in enumerate(("image-left eye", "image-right eye"))},
    }
    for row, (title, series) in enumerate(rows.items(), start=1):
        axes = figure.add_subplot(grid[row, :])
        draw_series(axes, title, seconds, series)
        axes.set_xticklabels([])
    axes = figure.add_subplot(grid[4, :])
    axes.plot(np.arange(sample.clip.sound.size) / SAMPLE_RATE_HZ, sample.clip.sound, color=INK, linewidth=0.4)
    axes.set_ylabel("sound", fontsize=8, color=INK)
    axes.set_xlabel("seconds", fontsize=8, color=INK)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Draw the sample of a shard that moves most."""
    if len(sys.argv) != 3:
        sys.exit("usage: draw_sample_picture.py SHARD.tar PICTURE.png")
    mpl.use("Agg")
    samples = read_samples(Path(sys.argv[1]))
    draw(max(samples, key=motion)).savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
