"""Landmarks survive what is done to copies, and differ between recordings."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.audio.sound_landmarks import TIME_SECONDS, find_landmarks
from tests.factories.preprocessing.videos import voice


def compressed(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encoded with Vorbis and decoded again."""
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, format="OGG", subtype="VORBIS")
    file.seek(0)
    return np.asarray(soundfile.read(file, dtype="float32")[0], np.float32)


def shared(one: NDArray[np.float32], other: NDArray[np.float32]) -> dict[int, int]:
    """Number of common landmarks by the distance of their times."""
    hashes, times = find_landmarks(one)
    found: dict[int, int] = {}
    for hash_, time in zip(*find_landmarks(other), strict=True):
        for same in np.flatnonzero(hashes == hash_):
            distance = int(times[same] - time)
            found[distance] = found.get(distance, 0) + 1
    return found


def test_copy_that_is_cut_quieter_and_compressed_keeps_landmarks() -> None:
    sound = voice(150)
    copy = compressed(0.3 * sound[20_077:])
    found = shared(sound, copy)
    best = max(found, key=found.__getitem__)
    assert abs(best * TIME_SECONDS - 20_077 / 16_000) <= TIME_SECONDS
    assert found[best] + found.get(best + 1, 0) >= 10


def test_other_voice_shares_no_aligned_landmarks() -> None:
    assert max(shared(voice(150), voice(150, seed=5)).values(), default=0) < 5


def test_hashes_ascend_and_do_not_depend_on_loudness() -> None:
    sound = voice(100)
    hashes, times = find_landmarks(sound)
    assert (np.diff(hashes.astype(np.int64)) >= 0).all()
    assert times.min() >= 0
    assert times.max() * TIME_SECONDS <= 4.0
    np.testing.assert_array_equal(find_landmarks(sound / 2)[0], hashes)


def test_steady_tones_silence_and_short_sounds_have_no_landmarks() -> None:
    seconds = np.arange(64_000) / 16_000
    hum = sum(np.sin(2 * np.pi * 250 * number * seconds) for number in (1, 2, 3)) / 5
    for sound in (np.asarray(hum, np.float32)[:0], np.zeros(64_000, np.float32), np.ones(500, np.float32)):
        assert len(find_landmarks(sound)[0]) == 0


def test_long_sounds_keep_half_of_the_landmarks_of_their_parts() -> None:
    part = voice(200)
    long = np.concatenate([part, np.zeros(16_000 * 23, np.float32)])
    few, many = len(find_landmarks(long)[0]), len(find_landmarks(part)[0])
    assert 0.35 * many < few < 0.65 * many
