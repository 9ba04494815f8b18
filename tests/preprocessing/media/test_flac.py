"""FLAC files are whole, or an error says why not."""

import errno
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessing.media.flac import flac_writer
from preprocessing.schema import SAMPLE_RATE_HZ
from tests.factories.storage.small_disk import small_disk

NOISE = np.random.default_rng(0).uniform(-1, 1, 64_000).astype(np.float32)


def write_noise(path: Path) -> None:
    with flac_writer(path) as sound:
        for start in range(0, len(NOISE), 640):
            sound.write(NOISE[start : start + 640])


def test_flac_has_the_bytes_of_libsndfile(tmp_path: Path) -> None:
    write_noise(tmp_path / "a.flac")
    soundfile.write(tmp_path / "b.flac", NOISE, SAMPLE_RATE_HZ, "PCM_16", format="FLAC")
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


@pytest.mark.parametrize("free_bytes", [0, 40_960, 126_976])  # the whole file needs 128 kB
def test_full_disk_is_an_error_of_the_disk(
    tmp_path: Path, free_bytes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        disk.fill(free_bytes)
        with pytest.raises(OSError, match="No space left") as caught:
            write_noise(disk.path / "a.flac")
    assert caught.value.errno == errno.ENOSPC
    assert capfd.readouterr().err == ""  # libsndfile's callbacks print exceptions
