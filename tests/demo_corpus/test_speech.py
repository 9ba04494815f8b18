from dataclasses import replace

import numpy as np

from demo_corpus.speech import (
    LARGEST_OPENING_CM,
    SAMPLE_RATE_HZ,
    Room,
    Syllable,
    Voice,
    draw_syllables,
    mouth_at,
    recorded,
    synthesise,
)

VOICE = Voice(pitch_hz=120.0, tract=1.0)
FRAME_SECONDS = 1 / 25


def test_sound_starts_with_the_mouth_opening() -> None:
    syllables = (Syllable(1.0, 0.25, 1.0, 0.0, 0.0),)
    sound = synthesise(np.random.default_rng(0), VOICE, syllables, 2.0)
    opening, _ = mouth_at(syllables, np.arange(50) / 25)
    opens = np.flatnonzero(opening > 0.05)[0] * FRAME_SECONDS
    heard = np.flatnonzero(np.abs(sound) > 0.05 * np.abs(sound).max())[0] / SAMPLE_RATE_HZ
    assert abs(heard - opens) <= FRAME_SECONDS
    assert np.abs(sound[: SAMPLE_RATE_HZ // 2]).max() < 1e-4


def test_loudness_follows_the_mouth_opening() -> None:
    syllables = draw_syllables(np.random.default_rng(2), 8.0)
    sound = synthesise(np.random.default_rng(2), VOICE, syllables, 8.0)
    loudness = np.sqrt((sound.reshape(200, -1) ** 2).mean(axis=1))
    opening, _ = mouth_at(syllables, (np.arange(200) + 0.5) / 25)
    assert np.corrcoef(loudness, opening)[0, 1] > 0.7


def test_syllables_come_at_four_per_second() -> None:
    syllables = draw_syllables(np.random.default_rng(4), 60.0)
    starts = np.array([syllable.start_seconds for syllable in syllables])
    steps = np.diff(starts)
    assert 0.2 <= np.median(steps) <= 0.3
    assert 0.3 < (steps.max() - 0.2) < 1.0
    assert max(syllable.opening_cm for syllable in syllables) <= LARGEST_OPENING_CM


def test_spread_vowel_raises_the_second_formant() -> None:
    def centroid(spread: float) -> float:
        sound = synthesise(np.random.default_rng(0), VOICE, (Syllable(0.0, 0.8, 0.6, spread, 0.0),), 1.0)
        power = np.abs(np.fft.rfft(sound)) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
        band = (hertz > 700) & (hertz < 2400)
        return float((power * hertz)[band].sum() / power[band].sum())

    assert centroid(1.0) > centroid(-1.0) + 300


def test_lips_meet_for_a_closed_consonant() -> None:
    first, second = Syllable(0.2, 0.3, 1.0, 0.0, 0.0), Syllable(0.5, 0.3, 1.0, 0.0, 0.0)
    times = np.arange(0, 1, 0.01)
    near = np.abs(times - 0.5) < 0.02
    open_lips, _ = mouth_at((first, second), times)
    closed, _ = mouth_at((first, replace(second, closed=True)), times)
    assert open_lips[near].min() > 0.15
    assert closed[near].max() < 0.05
    assert np.allclose(closed[times < 0.3], open_lips[times < 0.3], atol=1e-3)


def test_a_nasal_is_heard_through_shut_lips() -> None:
    syllable = Syllable(0.5, 0.3, 1.0, 0.0, 0.0, closed=True, hum=1.0)
    sound = synthesise(np.random.default_rng(0), VOICE, (syllable,), 1.0)
    opening, _ = mouth_at((syllable,), np.arange(len(sound)) / SAMPLE_RATE_HZ)
    shut = opening < 0.01
    assert np.abs(sound[shut]).max() > 0.1 * np.abs(sound).max()


def test_a_room_echoes_and_hisses() -> None:
    sound = synthesise(np.random.default_rng(0), VOICE, (Syllable(0.0, 0.3, 1.0, 0.0, 0.0),), 1.0)
    end = slice(int(0.45 * SAMPLE_RATE_HZ), int(0.6 * SAMPLE_RATE_HZ))

    def loudness(room: Room) -> float:
        heard = recorded(np.random.default_rng(1), sound, room)
        assert heard.shape == sound.shape
        assert np.abs(heard).max() <= 0.601
        return float(np.sqrt((heard[end] ** 2).mean()))

    assert loudness(Room()) < 1e-4
    assert loudness(Room(echo_seconds=0.5, echo=0.3)) > 1e-3
    assert 0.003 < loudness(Room(noise=0.01)) < 0.01
