"""Augmentation of mel windows: other microphones, rooms and voices than the data's, on the device.

Synthetic voices, or a few speakers in one studio, teach an audio encoder their spectrum along with what they
say. Every window is changed by a draw of its own, so only what all changes leave can tell its lips.

As those of `training.data.augmentation.pictures`, they are drawn on the host from each row's seed, the same
whatever the batch and rank.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from preprocessing.schema import MEL_BANDS
from storage.settings import Settings

_STREAM: Final = 5  # of the random generators; others: `training.data.augmentation.pictures`, `mirroring`
_DECIBELS: Final = 100.0  # range of the features, 0 to 1
_RIPPLES: Final = 3  # half waves of the random frequency response
_LOW_PASS_DECIBELS: Final = 40.0


class SoundAugmentation(Settings):
    """Ranges of the changes; all of it ours."""

    probability: float = Field(default=0.8, ge=0, le=1, description="Share of the windows that are changed")
    gain_decibels: float = Field(default=6.0, ge=0, le=40, description="Largest change of the level")
    tilt_decibels: float = Field(
        default=10.0, ge=0, le=40, description="Largest rise or fall from the lowest to the highest band"
    )
    ripple_decibels: float = Field(
        default=5.0, ge=0, le=40, description="Largest height of each wave of the frequency response"
    )
    shift_bands: float = Field(
        default=4.0, ge=0, le=20, description="Largest shift along the bands: other pitches and vocal tracts"
    )
    noise_level: tuple[float, float] = Field(
        default=(0.1, 0.5), description="Level of added noise between these features, 0 to 1, at random"
    )
    low_pass_probability: float = Field(
        default=0.2, ge=0, le=1, description="Share of the changed windows that lose their highest bands"
    )


def augment_sound(mels: Tensor, seeds: Sequence[int], settings: SoundAugmentation) -> Tensor:
    """Change level, frequency response and noise of mel windows.

    Args:
        mels: float [B, 1, 80, T] in [0, 1].
        seeds: B.
        settings: ranges of the changes.

    Returns:
        The same shape, dtype and range.
    """
    if mels.ndim != 4 or mels.shape[1:3] != (1, MEL_BANDS) or len(seeds) != len(mels):
        raise ValueError(
            f"need mels [B, 1, {MEL_BANDS}, T] and B seeds, got {list(mels.shape)} and {len(seeds)}"
        )
    drawn = [_draw(np.random.default_rng([_STREAM, seed]), settings) for seed in seeds]
    response, shift, noise = (torch.from_numpy(np.stack(part)).to(mels) for part in zip(*drawn, strict=True))
    moved = _shifted(mels[:, 0], shift) + response[:, :, None]
    return _louder_sum(moved, noise[:, :, None]).clamp(0, 1)[:, None]


def _draw(
    rng: np.random.Generator, settings: SoundAugmentation
) -> tuple[NDArray[np.float32], np.float32, NDArray[np.float32]]:
    """Frequency response [80], shift in bands, and level of the noise [80] of a window."""
    place = np.linspace(-1, 1, MEL_BANDS)

    def response() -> NDArray[np.float64]:
        waves = [
            rng.uniform(-1, 1) * np.cos(np.pi * (number + 1) * place / 2 + rng.uniform(0, 2 * np.pi))
            for number in range(_RIPPLES)
        ]
        tilt = rng.uniform(-0.5, 0.5) * settings.tilt_decibels * place
        return np.asarray(tilt + settings.ripple_decibels * np.sum(waves, axis=0)) / _DECIBELS

    changed = rng.uniform() < settings.probability
    own = response() + rng.uniform(-1, 1) * settings.gain_decibels / _DECIBELS
    if rng.uniform() < settings.low_pass_probability:
        own = own - np.where(place > rng.uniform(0.2, 0.9), _LOW_PASS_DECIBELS / _DECIBELS, 0.0)
    shift = rng.uniform(-1, 1) * settings.shift_bands
    noise = rng.uniform(*settings.noise_level) + response()
    if not changed:
        own, shift, noise = np.zeros(MEL_BANDS), 0.0, np.full(MEL_BANDS, -1.0)
    return own.astype(np.float32), np.float32(shift), noise.astype(np.float32)


def _shifted(mels: Tensor, shift: Tensor) -> Tensor:
    """Windows [B, F, T] with their bands moved up by `shift` [B], interpolated; the ends are repeated."""
    bands = mels.shape[1]
    source = (torch.arange(bands, device=mels.device) - shift[:, None]).clamp(0, bands - 1)
    low = source.floor().long().clamp(max=bands - 2)
    part = (source - low)[:, :, None]
    low = low[:, :, None].expand(-1, -1, mels.shape[2])
    return mels.gather(1, low) * (1 - part) + mels.gather(1, low + 1) * part


def _louder_sum(first: Tensor, second: Tensor) -> Tensor:
    """Level of two sounds that add up in power."""
    return torch.logaddexp(first * _SCALE, second * _SCALE) / _SCALE


_SCALE: Final = _DECIBELS / 10 * float(np.log(10))
"""From a feature's unit, 100 dB, to the natural logarithm of a power."""
