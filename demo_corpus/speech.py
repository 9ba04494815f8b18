"""Babble: syllables that open the mouth, and their sound.

Sound and picture are functions of one timeline: the voice is silent while the mouth is shut, the
vowel's first formant rises with the opening and its second with the spread of the lips.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import SAMPLE_RATE_HZ

BLOCK_SAMPLES: Final = 80  # 5 ms: the formants' time resolution
LARGEST_OPENING_CM: Final = 1.4


@dataclass(frozen=True)
class Syllable:
    """One opening of the mouth."""

    start_seconds: float
    length_seconds: float
    opening_cm: float
    spread: float  # -1 rounded (oo) .. 1 spread (ee)
    hiss: float  # loudness of the consonant's noise, 0 .. 1


@dataclass(frozen=True)
class Voice:
    """A speaker."""

    pitch_hz: float
    tract: float  # 1 an adult man's vocal tract; larger is shorter, formants higher


def draw_voice(rng: np.random.Generator) -> Voice:
    """Sample a speaker; pitch and vocal tract correlate as in men and women."""
    height = rng.uniform(0.0, 1.0)
    return Voice(pitch_hz=100.0 + 120.0 * height + rng.uniform(-8, 8), tract=1.0 + 0.17 * height)


def draw_syllables(rng: np.random.Generator, seconds: float) -> tuple[Syllable, ...]:
    """Phrases of 3 to 9 syllables at about 4 Hz, pauses of 0.3 to 0.8 s between them."""
    syllables: list[Syllable] = []
    start = rng.uniform(0.15, 0.5)
    while start < seconds - 0.3:
        for _ in range(int(rng.integers(3, 10))):
            length = rng.uniform(0.2, 0.3)
            opening = rng.uniform(0.35, 1.0) * LARGEST_OPENING_CM
            syllables.append(
                Syllable(
                    start,
                    length,
                    opening,
                    rng.uniform(-1, 1),
                    rng.choice([0.0, rng.uniform(0.3, 1)]),
                )
            )
            start += length
        start += rng.uniform(0.3, 0.8)
    return tuple(
        syllable for syllable in syllables if syllable.start_seconds + syllable.length_seconds < seconds
    )


def mouth_at(
    syllables: tuple[Syllable, ...], times_seconds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Opening in cm and spread -1..1 of the lips at each time, [T] each."""
    opening = np.zeros_like(times_seconds)
    spread = np.zeros_like(times_seconds)
    weight = np.full_like(times_seconds, 1e-3)
    for syllable in syllables:
        # Each opening overlaps the next: within a phrase, lips rarely shut.
        middle = (times_seconds - syllable.start_seconds) / (syllable.length_seconds * 1.25)
        bump = np.where((middle > 0) & (middle < 1), np.sin(np.pi * np.clip(middle, 0, 1)) ** 1.2, 0.0)
        opening = np.maximum(opening, bump * syllable.opening_cm)
        # The lips take a vowel's shape before the opening and leave it afterwards.
        shape = np.exp(-0.5 * ((middle - 0.5) / 0.5) ** 2)
        spread += shape * syllable.spread
        weight += shape
    return opening, spread / np.maximum(weight, 0.5)


def synthesise(
    rng: np.random.Generator, voice: Voice, syllables: tuple[Syllable, ...], seconds: float
) -> NDArray[np.float32]:
    """Mono sound at SAMPLE_RATE_HZ, [round(seconds * SAMPLE_RATE_HZ)] within -1..1."""
    count = round(seconds * SAMPLE_RATE_HZ)
    times = np.arange(count) / SAMPLE_RATE_HZ
    opening, spread = mouth_at(syllables, times)
    openness = np.clip(opening / LARGEST_OPENING_CM, 0.0, 1.0)
    # Prosody: pitch varies slowly and rises with an open vowel.
    sway = 0.08 * np.sin(2 * np.pi * 0.37 * times + rng.uniform(0, 6)) + 0.06 * openness
    pitch = voice.pitch_hz * (1 + sway)
    source = _glottal_pulses(pitch) + 0.02 * rng.standard_normal(count)
    vowel = source
    for centre, width in _formants(voice, openness, spread):
        vowel = _resonate(vowel, centre, width)
    vowel *= np.sqrt(openness)
    hiss = _bandpass(rng.standard_normal(count), 2500.0, 6500.0) * _hiss_envelope(syllables, times)
    sound = vowel / max(float(np.abs(vowel).max()), 1e-9) + 0.12 * hiss
    return (0.6 * sound / max(float(np.abs(sound).max()), 1e-9)).astype(np.float32)


def _glottal_pulses(pitch_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth pulse train: one short opening of the vocal folds per period."""
    phase = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ % 1.0
    open_share = 0.6
    flow = np.where(phase < open_share, np.sin(np.pi * phase / open_share) ** 2 * phase, 0.0)
    return np.diff(flow, prepend=flow[0])


def _formants(
    voice: Voice, openness: NDArray[np.float64], spread: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], float]]:
    """Centre (per sample) and width in Hz of three resonances of the vocal tract."""
    first = (280.0 + 520.0 * openness) * voice.tract
    second = (1450.0 + 700.0 * spread) * voice.tract
    third = np.full_like(first, 2600.0 * voice.tract)
    return [(first, 70.0), (second, 100.0), (third, 150.0)]


def _resonate(
    sound: NDArray[np.float64], centre_hz: NDArray[np.float64], width_hz: float
) -> NDArray[np.float64]:
    """A two-pole resonator with a moving centre, in blocks of BLOCK_SAMPLES; gain 1 at 0 Hz."""
    from scipy.signal import lfilter

    radius = np.exp(-np.pi * width_hz / SAMPLE_RATE_HZ)
    result = np.empty_like(sound)
    state = np.zeros(2)
    for start in range(0, len(sound), BLOCK_SAMPLES):
        block = slice(start, start + BLOCK_SAMPLES)
        angle = 2 * np.pi * centre_hz[start] / SAMPLE_RATE_HZ
        poles = np.array([1.0, -2 * radius * np.cos(angle), radius**2])
        result[block], state = lfilter([poles.sum()], poles, sound[block], zi=state)
    return result


def _bandpass(sound: NDArray[np.float64], low_hz: float, high_hz: float) -> NDArray[np.float64]:
    from scipy.signal import butter, sosfilt

    sections = butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sosfilt(sections, sound), np.float64)


def _hiss_envelope(syllables: tuple[Syllable, ...], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bursts of 30 ms when the lips open for a syllable."""
    envelope = np.zeros_like(times)
    for syllable in syllables:
        since = (times - syllable.start_seconds) / 0.03
        envelope += syllable.hiss * np.where(
            (since > 0) & (since < 1), np.sin(np.pi * np.clip(since, 0, 1)), 0.0
        )
    return envelope
