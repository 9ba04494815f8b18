"""Histograms of scores and labels with their thresholds, and bars of refusals by reason.

Uses matplotlib's `Figure` without pyplot, which shares state between runs in one process. matplotlib is
imported when something is drawn.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from preprocessing.clips.selection import ClipSettings
from preprocessing.clips.store import read_clip_table
from preprocessing.labels.lip_sync import SCORES_SCHEMA, SCORES_TABLE
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.pictures.drawing import MAXIMUM_PICTURE_BYTES, draw_message

BINS: Final = 40
COLUMNS: Final = 2
PANEL_SIZE_INCHES: Final = (2.45, 1.9)
HEAD_INCHES: Final = 0.3
DOTS_PER_INCH: Final = 96
FILL: Final = "#5b8db8"
REFUSED_FILL: Final = "#c46b5c"
THRESHOLD: Final = "#c42820"
TITLE_POINTS: Final = 9.0
TITLE_LETTERS: Final = 29  # that fit beside the next panel's; longer titles are smaller
UNIT_LETTERS: Final = 36  # that fit below a panel
PALETTE_COLOURS: Final = (128, 48, 16)  # a PNG with fewer colours is smaller


@dataclass(frozen=True)
class Histogram:
    """One histogram."""

    title: str
    unit: str
    edges: NDArray[np.float64] = field(repr=False)  # [N + 1]
    counts: NDArray[np.float64] = field(repr=False)  # [N]
    minimum: float | None = None  # values below are refused
    maximum: float | None = None  # values above are refused


def histogram_of(
    title: str,
    unit: str,
    values: Sequence[float | None] | NDArray[np.floating[Any]],
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Histogram:
    """The histogram of values without those that are None or not finite.

    Args:
        title: the measured quantity.
        unit: of the values.
        values: any number of them.
        minimum: threshold below which a clip is refused.
        maximum: threshold above which it is.
        limits: of the axis; None: the range of values and thresholds.
    """
    array = np.array([math.nan if value is None else value for value in values], np.float64)
    array = array[np.isfinite(array)]
    if limits is None:
        bounds = [bound for bound in (minimum, maximum) if bound is not None]
        seen = np.concatenate([array, bounds]) if len(array) + len(bounds) else np.zeros(1)
        low, high = float(seen.min()), float(seen.max())
        limits = (low, high) if high > low else (low - 0.5, high + 0.5)
    counts, edges = np.histogram(array, bins=BINS, range=limits)
    return Histogram(title, unit, edges, counts.astype(np.float64), minimum, maximum)


def draw_clip_scores(
    clips: Path, settings: ClipSettings, *, maximum_bytes: int = MAXIMUM_PICTURE_BYTES
) -> bytes:
    """PNG with a histogram of every score of a batch's candidates and its threshold.

    Args:
        clips: folder of the step `clips`.
        settings: of the selection.
        maximum_bytes: of the PNG.
    """
    table = read_clip_table(clips)

    def of(name: str) -> list[float | None]:
        return table[name].cast(pa.float64()).to_pylist()

    widest_rad = settings.maximum_head_angle_rad
    angles = [None if angle is None else math.degrees(angle) for angle in of("head_angle_rad")]
    level = settings.minimum_speech_level_dbfs
    histograms = [
        histogram_of(
            "Face size", "px in the source", of("face_size_px"), minimum=settings.minimum_face_size_px
        ),
        histogram_of(
            "Sharpness", "variance of the Laplacian", of("sharpness"), minimum=settings.minimum_sharpness
        ),
        histogram_of(
            "Brightness",
            "mean grey level",
            of("brightness"),
            minimum=settings.minimum_brightness,
            maximum=settings.maximum_brightness,
        ),
        histogram_of("Largest step", "face sizes a frame", of("largest_step"), maximum=settings.maximum_step),
        histogram_of(
            "Beyond the picture",
            "share of the crop",
            of("outside_share"),
            maximum=settings.maximum_outside_share,
        ),
        histogram_of("Head angle", "degrees", angles, maximum=math.degrees(widest_rad)),
        histogram_of(
            "Mouth motion",
            "standard deviation, face scales",
            of("mouth_motion"),
            minimum=settings.minimum_mouth_motion,
        ),
        histogram_of("Sound level", "dBFS, loudest second", of("speech_level_dbfs"), minimum=level),
        histogram_of(
            "Speech", "share of the frames", of("speech_share"), minimum=settings.speech.minimum_share
        ),
        histogram_of("Length", "frames at 25 fps", of("frames")),
    ]
    return draw_histograms("Scores of candidates; red: thresholds", histograms, maximum_bytes)


def draw_pose_angles(pose_labels: Path, *, maximum_bytes: int = MAXIMUM_PICTURE_BYTES) -> bytes:
    """PNG of the head's angles and position over all frames of a batch."""
    poses = _frames(pose_labels, POSE_NAMES)
    histograms = [
        histogram_of(title, "degrees", np.degrees(poses[:, number]))
        for number, title in enumerate(
            ("Pitch (+ looks down)", "Yaw (+ looks to the image's right)", "Roll (+ counter-clockwise)")
        )
    ]
    histograms += [
        histogram_of(title, "cm", poses[:, 3 + number])
        for number, title in enumerate(("x (+ image right)", "y (+ up)", "z (+ nearer)"))
    ]
    return draw_histograms("Head pose of every frame", histograms, maximum_bytes)


def draw_gaze_angles(gaze_labels: Path, *, maximum_bytes: int = MAXIMUM_PICTURE_BYTES) -> bytes:
    """PNG of gaze and blink over all frames of a batch."""
    eyes = _frames(gaze_labels, GAZE_NAMES + BLINK_NAMES)
    histograms = [
        histogram_of("Gaze pitch (+ looks down)", "degrees in the head", np.degrees(eyes[:, 0])),
        histogram_of(
            "Gaze yaw (+ looks to the image's right)", "degrees in the head", np.degrees(eyes[:, 1])
        ),
        histogram_of("Blink, both eyes", "0 open, 1 shut", eyes[:, 2:].ravel(), limits=(0.0, 1.0)),
    ]
    return draw_histograms("Gaze and blink of every frame", histograms, maximum_bytes)


def draw_lip_sync(lip_sync_scores: Path, *, maximum_bytes: int = MAXIMUM_PICTURE_BYTES) -> bytes:
    """PNG of lip-sync offsets and confidences of a batch's clips."""
    table = pq.read_table(lip_sync_scores / SCORES_TABLE, schema=SCORES_SCHEMA)
    histograms = [
        histogram_of("Offset (+ the sound comes late)", "frames", table["offset_frames"].to_pylist()),
        histogram_of("Confidence", "correlation over the median", table["confidence"].to_pylist()),
        histogram_of("Correlation", "at that offset", table["correlation"].to_pylist()),
    ]
    scorers = ", ".join(sorted(set(table["scorer"].to_pylist())))
    return draw_histograms(f"Lip sync of clips, scored by {scorers or 'none'}", histograms, maximum_bytes)


def draw_refusals(
    refusals: Mapping[str, int],
    kept: int,
    *,
    title: str = "Refusals",
    maximum_bytes: int = MAXIMUM_PICTURE_BYTES,
) -> bytes:
    """PNG of bars: the number kept, and the number refused for each reason."""
    if not refusals and not kept:
        return draw_message(title, "No values.", maximum_bytes)
    from matplotlib.figure import Figure

    names = ["kept", *sorted(refusals, key=lambda reason: (-refusals[reason], reason))]
    counts = [kept, *(refusals[name] for name in names[1:])]
    figure = Figure((4.9, 0.7 + 0.28 * len(names)), DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    colours = [FILL, *[REFUSED_FILL] * len(refusals)]
    bars = axes.barh([name.replace("_", " ") for name in names], counts, color=colours)
    axes.bar_label(bars, padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=11)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(b=False)
    return _encode(figure, maximum_bytes)


def draw_histograms(
    title: str, histograms: Sequence[Histogram], maximum_bytes: int = MAXIMUM_PICTURE_BYTES
) -> bytes:
    """PNG of histograms side by side; a message if none has a value."""
    if not any(histogram.counts.any() for histogram in histograms):
        return draw_message(title, "No values.", maximum_bytes)
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(histograms))
    rows = -(-len(histograms) // columns)
    width, height = PANEL_SIZE_INCHES[0] * columns, PANEL_SIZE_INCHES[1] * rows + HEAD_INCHES
    figure = Figure((width, height), DOTS_PER_INCH)
    figure.text(0.1 / width, 1 - 0.1 / height, title, va="top", fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    # Margins by hand: matplotlib's layout engines draw everything several times.
    figure.subplots_adjust(
        left=0.45 / width,
        right=1 - 0.1 / width,
        top=1 - (HEAD_INCHES + 0.3) / height,
        bottom=0.58 / height,
        wspace=0.22,
        hspace=0.75,
    )
    for axes, histogram in zip(grid, histograms, strict=False):
        _draw_histogram(axes, histogram)
    for axes in grid[len(histograms) :]:
        axes.set_visible(False)
    return _encode(figure, maximum_bytes)


def _draw_histogram(axes: Any, histogram: Histogram) -> None:
    axes.stairs(histogram.counts, histogram.edges, fill=True, color=FILL)
    if histogram.minimum is not None:
        _draw_threshold(axes, histogram.minimum, "at least", to_the_right=True)
    if histogram.maximum is not None:
        _draw_threshold(axes, histogram.maximum, "at most", to_the_right=False)
    points = TITLE_POINTS * min(1.0, TITLE_LETTERS / max(len(histogram.title), 1))
    axes.set_title(histogram.title, loc="left", fontsize=points)
    axes.set_xlabel(textwrap.fill(histogram.unit, UNIT_LETTERS), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.locator_params(axis="y", nbins=4, integer=True)
    axes.spines[["top", "right"]].set_visible(b=False)


def _draw_threshold(axes: Any, bound: float, side: str, *, to_the_right: bool) -> None:
    axes.axvline(bound, color=THRESHOLD, linewidth=1.2)
    axes.annotate(
        f"{side} {bound:g}",
        (bound, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(3 if to_the_right else -3, -2),
        textcoords="offset points",
        ha="left" if to_the_right else "right",
        va="top",
        fontsize=7,
        color=THRESHOLD,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
    )


def _encode(figure: Any, maximum_bytes: int) -> bytes:
    buffer = io.BytesIO()
    # Without metadata, which has matplotlib's version, so that the same data gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    image = Image.open(buffer).convert("RGB")
    while image.width >= 16:
        for colours in PALETTE_COLOURS:
            small = io.BytesIO()
            image.quantize(colours).save(small, "PNG", optimize=True)
            if small.tell() <= maximum_bytes:
                return small.getvalue()
        image = image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS)
    raise ValueError(f"no picture fits into {maximum_bytes} bytes")


def _frames(folder: Path, names: tuple[str, ...]) -> NDArray[np.float32]:
    labels = list(read_labels(folder, names).values())
    return np.concatenate(labels) if labels else np.zeros((0, len(names)), np.float32)
