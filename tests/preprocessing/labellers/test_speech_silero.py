"""Silero's detector on voices, noise and long sounds; its version is the installed package's."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from preprocessing.labellers import speech_silero
from preprocessing.labellers.speech_silero import VERSION, SileroDetector
from tests.factories.preprocessing.videos import voice


def detect(tmp_path: Path, sound: NDArray[np.float32]) -> NDArray[np.float32]:
    path = tmp_path / "sound.flac"
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    return SileroDetector().detect(path)


def test_voice_is_speech_where_it_sounds(tmp_path: Path) -> None:
    quiet = np.zeros(50 * 640, np.float32)
    found = detect(tmp_path, np.concatenate([quiet, voice(50), quiet]))
    assert found.shape == (150,)
    assert found[:48].max() < 0.3
    assert np.mean(found[55:98] >= 0.5) > 0.9
    assert found[125:].max() < 0.3


def test_noise_is_not_speech(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.1, 100 * 640).clip(-1, 1).astype(np.float32)
    assert detect(tmp_path, noise).max() < 0.3


def test_blocks_give_what_one_call_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = voice(60)[: 60 * 640 - 100]  # the last frame is cut
    whole = detect(tmp_path, sound)
    assert len(whole) == 60
    monkeypatch.setattr(speech_silero, "BLOCK_WINDOWS", 7)
    np.testing.assert_allclose(detect(tmp_path, sound), whole, atol=0.011)


def test_version_is_that_of_the_installed_package() -> None:
    assert importlib.metadata.version("silero-vad") == VERSION


def test_detector_loads_no_torch() -> None:
    code = "from preprocessing.labellers.speech_silero import SileroDetector as D; D(); import sys; " + (
        "sys.exit('torch' in sys.modules or 'silero_vad' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
