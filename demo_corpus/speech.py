"""Babble: syllables that open the mouth, and their sound.

Sound and picture are functions of one timeline: vowels are silent while the mouth is shut, their first
formant rises with the opening and their second with the spread of the lips. As in speech, sound alone does
not say all: lips meet and hum (m), let air through (s, f) or shut in silence (p), and stress, voice, room and
microphone change what is heard of the same mouth.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import SAMPLE_RATE_HZ

BLOCK_SAMPLES: Final = 80  # 5 ms: the formants' time resolution
LARGEST_OPENING_CM: Final = 1.4
CLOSURE_SECONDS: Final = 0.08  # of a nasal's hum
CLOSING_SECONDS: Final = 0.035  # lips take about three times as long to shut
FRICATIVE_NARROWING: Final = 0.7
NASAL_HZ: Final = (260.0, 1100.0)  # resonances of the nose


@dataclass(frozen=True)
class Syllable:
    """One opening of the mouth."""

    start_seconds: float
    length_seconds: float
    opening_cm: float
    spread: float  # -1 rounded (oo) .. 1 spread (ee)
    hiss: float  # loudness of the consonant's noise, 0 .. 1
    hiss_seconds: float = 0.03  # a burst; longer: a fricative, through lips nearly shut
    hiss_band_hz: tuple[float, float] = (2500.0, 6500.0)
    hum: float = 0.0  # loudness of a nasal consonant before the opening, 0 .. 1
    closed: bool = False  # the lips meet before the opening
    loudness: float = 1.0  # stress
    brightness: float = 0.0  # change of the first formant, as a share; no effect on the lips


@dataclass(frozen=True)
class Voice:
    """A speaker."""

    pitch_hz: float
    tract: float  # 1 an adult man's vocal tract; larger is shorter, formants higher
    breath: float = 0.02  # noise among the glottal pulses
    formant_widths: float = 1.0  # 1 a clear voice; wider formants sound duller


@dataclass(frozen=True)
class Room:
    """Where a video is recorded, and by what."""

    echo_seconds: float = 0.0  # time in which the echo fades by 60 dB; 0: none
    echo: float = 0.0  # loudness of the echo beside the voice
    low_gain: float = 1.0  # of what is below `corner_hz`
    corner_hz: float = 1000.0
    highest_hz: float = 8000.0  # of the microphone or codec; 8000: all
    noise: float = 0.0  # rms beside the sound's largest value


def draw_voice(rng: np.random.Generator) -> Voice:
    """Sample a speaker; pitch and vocal tract correlate as in men and women."""
    height = rng.uniform(0.0, 1.0)
    return Voice(
        pitch_hz=95.0 + 140.0 * height + rng.uniform(-15, 15),
        tract=1.0 + 0.17 * height + rng.uniform(-0.05, 0.05),
        breath=float(np.exp(rng.uniform(np.log(0.005), np.log(0.1)))),
        formant_widths=rng.uniform(0.8, 1.8),
    )


def draw_room(rng: np.random.Generator) -> Room:
    """Sample a room and a microphone: from a studio to an echoing hall over a phone."""
    return Room(
        echo_seconds=rng.uniform(0.1, 0.5),
        echo=rng.choice([0.0, rng.uniform(0.05, 0.4)]),
        low_gain=float(np.exp(rng.uniform(np.log(0.5), np.log(2.0)))),
        corner_hz=rng.uniform(400.0, 2500.0),
        highest_hz=rng.choice([8000.0, rng.uniform(3400.0, 7500.0)]),
        noise=float(np.exp(rng.uniform(np.log(1e-4), np.log(0.015)))),
    )


def draw_syllables(rng: np.random.Generator, seconds: float) -> tuple[Syllable, ...]:
    """Phrases of 3 to 9 syllables at about 4 Hz, pauses of 0.3 to 0.8 s between them."""
    syllables: list[Syllable] = []
    start = rng.uniform(0.15, 0.5)
    while start < seconds - 0.3:
        stress = rng.uniform(0.6, 1.0)
        for _ in range(int(rng.integers(3, 10))):
            length = rng.uniform(0.2, 0.3)
            opening = rng.uniform(0.35, 1.0) * LARGEST_OPENING_CM
            spread = rng.uniform(-1, 1)
            syllables.append(Syllable(start, length, opening, spread, **_draw_consonant(rng, stress)))
            start += length
        start += rng.uniform(0.3, 0.8)
    return tuple(
        syllable for syllable in syllables if syllable.start_seconds + syllable.length_seconds < seconds
    )


def _draw_consonant(rng: np.random.Generator, stress: float) -> dict[str, Any]:
    """What begins a syllable, and how loud it is."""
    low_hz = rng.uniform(1500.0, 4500.0)
    kind = rng.choice(["none", "burst", "fricative", "nasal", "lips"])
    return {
        "hiss": 0.0 if kind in ("none", "nasal") else rng.uniform(0.3, 1),
        "hiss_seconds": rng.uniform(0.06, 0.12) if kind == "fricative" else 0.03,
        "hiss_band_hz": (low_hz, low_hz + rng.uniform(1500.0, 3000.0)),
        "hum": rng.uniform(0.3, 1) if kind == "nasal" else 0.0,
        "closed": kind == "lips" or (kind == "nasal" and bool(rng.integers(2))),
        "loudness": stress * rng.uniform(0.6, 1.0),
        "brightness": rng.uniform(-0.15, 0.15),
    }


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
    for syllable in syllables:
        since = (times_seconds - syllable.start_seconds) / (CLOSING_SECONDS + syllable.hiss_seconds / 2)
        opening *= 1 - _narrowing(syllable) * np.exp(-0.5 * since**2)
    return opening, spread / np.maximum(weight, 0.5)


def _narrowing(syllable: Syllable) -> float:
    """How far a syllable's consonant shuts the lips, 0 to 1."""
    if syllable.closed:
        return 1.0
    return FRICATIVE_NARROWING if syllable.hiss and syllable.hiss_seconds > CLOSURE_SECONDS / 2 else 0.0


def _pulse(times: NDArray[np.float64], middle: float, width: float) -> NDArray[np.float64]:
    """A smooth pulse 0..1 that lasts about `width` seconds."""
    return np.exp(-0.5 * ((times - middle) / (width / 2)) ** 4)


def synthesise(
    rng: np.random.Generator, voice: Voice, syllables: tuple[Syllable, ...], seconds: float
) -> NDArray[np.float32]:
    """Mono sound at SAMPLE_RATE_HZ, [round(seconds * SAMPLE_RATE_HZ)] within -1..1."""
    count = round(seconds * SAMPLE_RATE_HZ)
    times = np.arange(count) / SAMPLE_RATE_HZ
    opening, spread = mouth_at(syllables, times)
    openness = np.clip(opening / LARGEST_OPENING_CM, 0.0, 1.0)
    loudness, brightness = _of_syllables(syllables, times)
    # Prosody: pitch varies slowly and rises with an open vowel.
    sway = 0.08 * np.sin(2 * np.pi * 0.37 * times + rng.uniform(0, 6)) + 0.06 * openness
    pitch = voice.pitch_hz * (1 + sway)
    source = _glottal_pulses(pitch) + voice.breath * rng.standard_normal(count)
    vowel = source
    for centre, width in _formants(voice, openness * (1 + brightness), spread):
        vowel = _resonate(vowel, centre, width * voice.formant_widths)
    vowel *= np.sqrt(openness) * loudness
    sound = vowel / max(float(np.abs(vowel).max()), 1e-9)
    sound += 0.12 * _hiss(rng, syllables, times)
    if any(syllable.hum for syllable in syllables):
        nasal = source
        for centre_hz in NASAL_HZ:
            nasal = _resonate(nasal, np.full(count, centre_hz * voice.tract), 120.0)
        envelope = sum(
            (syllable.hum * _pulse(times, syllable.start_seconds, CLOSURE_SECONDS) for syllable in syllables),
            np.zeros(count),
        )
        sound += 0.3 * envelope * nasal / max(float(np.abs(nasal).max()), 1e-9)
    return (0.6 * sound / max(float(np.abs(sound).max()), 1e-9)).astype(np.float32)


def recorded(rng: np.random.Generator, sound: NDArray[np.float32], room: Room) -> NDArray[np.float32]:
    """The sound [N] as a room and its microphone give it: echo, frequency response, noise."""
    from scipy.signal import butter, fftconvolve, sosfilt

    heard = sound.astype(np.float64)
    if room.echo:
        times = np.arange(round(room.echo_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / room.echo_seconds)
        heard += room.echo * fftconvolve(heard, tail / np.sqrt((tail**2).sum()))[: len(heard)]
    low = sosfilt(butter(1, room.corner_hz, "lowpass", fs=SAMPLE_RATE_HZ, output="sos"), heard)
    heard += (room.low_gain - 1) * np.asarray(low)
    if room.highest_hz < SAMPLE_RATE_HZ / 2:
        cut = butter(6, room.highest_hz, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
        heard = np.asarray(sosfilt(cut, heard))
    heard += room.noise * float(np.abs(heard).max()) * rng.standard_normal(len(heard))
    return (0.6 * heard / max(float(np.abs(heard).max()), 1e-9)).astype(np.float32)


def _of_syllables(
    syllables: tuple[Syllable, ...], times: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loudness and brightness at each time: those of the syllable that is heard, changing smoothly."""
    loudness, brightness, weight = np.zeros_like(times), np.zeros_like(times), np.full_like(times, 1e-6)
    for syllable in syllables:
        heard = _pulse(times, syllable.start_seconds + 0.6 * syllable.length_seconds, syllable.length_seconds)
        loudness += heard * syllable.loudness
        brightness += heard * syllable.brightness
        weight += heard
    return loudness / weight, brightness / weight


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


def _hiss(
    rng: np.random.Generator, syllables: tuple[Syllable, ...], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Noise of the consonants when the lips open for a syllable: bursts, and fricatives."""
    noise, result = rng.standard_normal(len(times)), np.zeros_like(times)
    for syllable in syllables:
        since = (times - syllable.start_seconds) / syllable.hiss_seconds
        inside = np.flatnonzero((since > 0) & (since < 1))
        if syllable.hiss and len(inside):
            band = _bandpass(noise[inside], *syllable.hiss_band_hz)
            result[inside] += syllable.hiss * np.sin(np.pi * since[inside]) * band
    return result
