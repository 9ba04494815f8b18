"""How well a mouth's motion goes with a sound: canonical correlation of lip landmarks and mel bands.

The projection in `mouth_sound_projection.csv` was fitted to clips of real talking people by
`benchmarks.preprocessing.mouth_sound`, which also measures it on people that it leaves out. It serves the
choice of the speaking face (`preprocessing.clips.speakers`) and the lip sync scorer `canonical`.

Shape letters: T frames at 25 fps; M features of a mouth; S of sound; K pairs of canonical components.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.shape.landmark_groups import (
    CHIN,
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_RIGHT_EYE_CORNERS,
    LIPS_INNER,
    LIPS_OUTER,
)
from preprocessing.schema import LANDMARK_COUNT, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

NAME: Final = "mouth_sound"
VERSION: Final = "2"
TABLE_PATH: Final = Path(__file__).with_name("mouth_sound_projection.csv")

_NOSE_BRIDGE: Final = 168
_NOSE_BASE: Final = 2
# Below the lips, and one point of each cheek and jaw side; a pair is averaged, its mirror image added.
_MIDLINE: Final = (CHIN, 199, 18, 200)
_PAIRS: Final = ((208, 428), (50, 280))
_MEL_BANDS: Final = 24
_MEL_RANGE_HZ: Final = (80.0, 7600.0)
_HALVES: Final = 2  # spectra a frame: windows of 40 ms every 20 ms
_CONTEXT_FRAMES: Final = 1  # of sound, on either side
_POWER: Final = 0.25  # of a band: near Stevens' exponent of loudness
_SMOOTH_FRAMES: Final = 0.5  # sigma: landmark jitter
_SLOW_FRAMES: Final = 7.0  # sigma: slower changes are expression, head turns and the level of a recording
_STILL_VARIANCE: Final = 1e-12
_DECIMALS: Final = 6
"""Of a correlation: the last digits of a matrix product depend on how many threads BLAS has, and scores must
not depend on who runs the step."""


@dataclass(frozen=True)
class Projection:
    """Pairs of canonical components, the most correlated first."""

    mouth: NDArray[np.float64] = field(repr=False)  # [M, K]
    sound: NDArray[np.float64] = field(repr=False)  # [S, K]
    correlations: NDArray[np.float64]  # [K] in the clips that it was fitted to, 0 to 1


@dataclass(frozen=True)
class Example:
    """Somebody who speaks, for a fit."""

    person: str
    mouth: NDArray[np.float64] = field(repr=False)  # [T, M]
    sound: NDArray[np.float64] = field(repr=False)  # [T, S] in step with it


@cache
def load_projection() -> Projection:
    """Read the committed table. The arrays are read-only, since all callers share them."""
    table = np.loadtxt(TABLE_PATH, delimiter=",", comments="#")
    correlations, mouth, sound = np.split(table, [1, 1 + MOUTH_FEATURES])
    if len(sound) != SOUND_FEATURES:
        raise ValueError(
            f"{TABLE_PATH.name} has {len(table)} rows, need {1 + MOUTH_FEATURES + SOUND_FEATURES}"
        )
    for array in (correlations, mouth, sound):
        array.setflags(write=False)
    return Projection(mouth, sound, correlations[0])


def mouth_features(landmarks_px: NDArray[np.float32]) -> NDArray[np.float64]:
    """Motion of lips and jaw relative to the nose, without turns of the head: [T, 478, 3] px -> [T, M].

    Both sides of the face are averaged, so that a mirrored face has the same features. In eye distances.
    """
    if landmarks_px.ndim != 3 or landmarks_px.shape[1:] != (LANDMARK_COUNT, 3):
        raise ValueError(f"landmarks are {list(landmarks_px.shape)}, need [T, {LANDMARK_COUNT}, 3]")
    points = landmarks_px.astype(np.float64)
    across = points[:, IMAGE_RIGHT_EYE_CORNERS].mean(axis=1) - points[:, IMAGE_LEFT_EYE_CORNERS].mean(axis=1)
    eye_distance = np.linalg.norm(across, axis=-1, keepdims=True)
    across /= eye_distance
    down = points[:, _NOSE_BASE] - points[:, _NOSE_BRIDGE]
    down -= (down * across).sum(axis=-1, keepdims=True) * across
    down /= np.linalg.norm(down, axis=-1, keepdims=True)
    axes = np.stack([across, down, np.cross(across, down)], axis=1)
    left, right = _mirror_pairs()
    relative = (points - points[:, None, _NOSE_BASE]) / eye_distance[:, None]
    one, other = (np.einsum("tac,tnc->tna", axes, relative[:, list(side)]) for side in (left, right))
    symmetric = (one + other * np.array([-1.0, 1.0, 1.0])) / 2.0
    return _band(symmetric.reshape(len(points), -1))


def sound_features(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Loudness in mel bands, relative to that of the whole sound: [T * 640] at 16 kHz -> [T, S]."""
    frames = len(sound) // SAMPLES_PER_FRAME
    hop = SAMPLES_PER_FRAME // _HALVES
    window = 2 * hop
    padded = np.pad(sound[: frames * SAMPLES_PER_FRAME].astype(np.float64), hop // 2)
    view = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    view = np.concatenate([view, np.zeros((frames * _HALVES - len(view), window))])
    power = np.abs(np.fft.rfft(view * np.hanning(window))) ** 2
    bands = ((power @ _mel_filters(window)) ** _POWER).reshape(frames, -1)
    bands = _band(bands / max(float(bands.mean()), 1e-9), smooth=False)
    padded = np.pad(bands, ((_CONTEXT_FRAMES, _CONTEXT_FRAMES), (0, 0)), mode="edge")
    return np.concatenate(
        [padded[place : place + frames] for place in range(2 * _CONTEXT_FRAMES + 1)], axis=1
    )


def correlation_by_shift(
    mouth: NDArray[np.float64], sound: NDArray[np.float64], maximum_shift: int, projection: Projection
) -> NDArray[np.float64]:
    """Correlation of a mouth [T, M] with a sound [T, S] for every shift, as `correlate`."""
    return correlate(
        mouth @ projection.mouth, sound @ projection.sound, maximum_shift, projection.correlations
    )


def correlate(
    seen: NDArray[np.float64],
    heard: NDArray[np.float64],
    maximum_shift: int,
    correlations: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Correlation of the components of a mouth and of a sound, for every shift.

    Args:
        seen: [T, K] components of a mouth.
        heard: [T, K] components of the sound of the same frames.
        maximum_shift: of the sound, frames; less than T.
        correlations: [K] of the fit, the weights of the components.

    Returns:
        [2 * maximum_shift + 1]: for shift s from -maximum to +maximum, the weighted mean of the components'
        correlations of the mouth at t with the sound at t + s, multiplied by the square root of the share of
        frames that both have, to `_DECIMALS`. 0 for a mouth or a sound without motion.
    """
    frames = len(seen)
    curve: list[float] = []
    for shift in range(-maximum_shift, maximum_shift + 1):
        first = seen[max(0, -shift) : frames - max(0, shift)]
        second = heard[max(0, shift) : frames - max(0, -shift)]
        first, second = first - first.mean(axis=0), second - second.mean(axis=0)
        power = (first**2).sum(axis=0) * (second**2).sum(axis=0)
        each = (first * second).sum(axis=0) / np.sqrt(power + _STILL_VARIANCE)
        weighted = float(each @ correlations) / float(correlations.sum())
        curve.append(weighted * (len(first) / frames) ** 0.5)
    return np.round(curve, _DECIMALS)


def fit_projection(examples: Sequence[Example], components: int = 8, ridge: float = 1.0) -> Projection:
    """Canonical correlation analysis in which every person has the same weight.

    Args:
        examples: who speaks, in step with the sound.
        components: K.
        ridge: added to the diagonal of both covariances, in their mean variance.
    """
    frames: dict[str, int] = {}
    for example in examples:
        frames[example.person] = frames.get(example.person, 0) + len(example.mouth)
    weights = np.concatenate([np.full(len(each.mouth), 1.0 / frames[each.person]) for each in examples])
    weights = (weights / weights.sum())[:, None]
    mouth, sound = (
        np.concatenate(each) for each in zip(*((e.mouth, e.sound) for e in examples), strict=True)
    )
    mouth, sound = mouth - mouth.mean(axis=0), sound - sound.mean(axis=0)
    whiten_mouth, whiten_sound = (_whitening(x.T @ (x * weights), ridge) for x in (mouth, sound))
    left, correlations, right = np.linalg.svd(whiten_mouth @ (mouth.T @ (sound * weights)) @ whiten_sound)
    return Projection(
        whiten_mouth @ left[:, :components], whiten_sound @ right[:components].T, correlations[:components]
    )


def _whitening(covariance: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    size = len(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * np.trace(covariance) / size * np.eye(size))
    return vectors / np.sqrt(values) @ vectors.T


def _band(series: NDArray[np.float64], *, smooth: bool = True) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    fast = gaussian_filter1d(series, _SMOOTH_FRAMES, axis=0) if smooth else series
    return fast - gaussian_filter1d(series, _SLOW_FRAMES, axis=0)


@cache
def _mirror_pairs() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Landmarks and their mirror images; those of the midline are their own."""
    pairs = [(point, point) for point in _MIDLINE] + list(_PAIRS)
    for contour in (LIPS_OUTER, LIPS_INNER):  # corner, upper lip, corner at place 10, lower lip back
        pairs += [(contour[place], contour[10 - place]) for place in range(6)]
        pairs += [(contour[30 - place], contour[place]) for place in range(11, 16)]
    return tuple(left for left, _ in pairs), tuple(right for _, right in pairs)


@cache
def _mel_filters(window: int) -> NDArray[np.float64]:
    """Triangular filters [window / 2 + 1, 24] on the mel scale, of height 1."""
    ends = 2595.0 * np.log10(1.0 + np.asarray(_MEL_RANGE_HZ) / 700.0)
    corners = 700.0 * (10.0 ** (np.linspace(ends[0], ends[1], _MEL_BANDS + 2) / 2595.0) - 1.0)
    hertz = np.fft.rfftfreq(window, 1.0 / SAMPLE_RATE_HZ)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    return np.clip(np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)), 0.0, None)


MOUTH_FEATURES: Final = 3 * len(_mirror_pairs()[0])
SOUND_FEATURES: Final = _HALVES * _MEL_BANDS * (2 * _CONTEXT_FRAMES + 1)
