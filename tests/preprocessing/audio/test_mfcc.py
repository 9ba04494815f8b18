"""MFCC as python_speech_features 0.6 gives them by its defaults."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.audio.mfcc import mfcc


def tone_and_sweep() -> NDArray[np.int16]:
    place = np.arange(2000)
    tone = 12_000 * np.sin(2 * np.pi * 440 * place / 16_000) * np.exp(-place / 900)
    return (tone + 3_000 * np.sin(place * place / 5_000)).round().astype(np.int16)


def test_mfcc_equals_python_speech_features() -> None:
    # Rows 0, 5 and 10 of python_speech_features.mfcc(tone_and_sweep(), 16000), version 0.6.
    expected = """
        19.488252 20.519657 4.598754 -10.310044 -22.860667 -29.572806 -27.010862
        -17.916457 -4.938292 6.334538 12.931266 12.46348 6.840125
        19.029629 30.748183 -20.068093 -41.397947 -22.195182 3.477557 2.175322
        -18.64555 -24.454164 -4.01493 21.403355 26.27075 12.375552
        19.912617 6.99758 -40.848637 -1.878022 22.794586 -27.607034 -50.939118
        0.048561 28.080775 2.477179 0.109551 25.330324 21.183962
    """
    found = mfcc(tone_and_sweep())
    assert found.shape == (11, 13)
    np.testing.assert_allclose(found[[0, 5, 10]].ravel(), np.array(expected.split(), float), atol=1e-6)


def test_floats_are_rounded_to_16_bits() -> None:
    samples = tone_and_sweep()
    floats = (samples / 32_768.0).astype(np.float32)
    np.testing.assert_array_equal(mfcc(floats), mfcc(samples))
    np.testing.assert_array_equal(mfcc(np.full(500, 0.3 / 32_768, np.float32)), mfcc(np.zeros(500, np.int16)))
    loud = mfcc(np.full(500, 1.0, np.float32))
    np.testing.assert_array_equal(loud, mfcc(np.full(500, 32_767, np.int16)))


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (400, 1), (401, 2), (560, 2), (561, 3), (640 * 25, 99)])
def test_last_window_is_zero_padded(count: int, rows: int) -> None:
    assert mfcc(np.ones(count, np.int16)).shape == (rows, 13)


def test_mfcc_of_silence_is_the_floor() -> None:
    row = mfcc(np.zeros(400, np.int16))[0]
    assert row[0] == pytest.approx(math.log(2.0**-52))
    np.testing.assert_allclose(row[1:], 0.0, atol=1e-12)


def test_wrong_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"samples must be \[n\] with n >= 1, got \[0\]"):
        mfcc(np.zeros(0, np.float32))
