"""Writing FLAC so that a full disk is an error: libsndfile alone may leave a short file."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile
from typing_extensions import override

from preprocessing.schema import SAMPLE_RATE_HZ


class _CheckedFile(io.BufferedWriter):
    """Keeps its first error: an exception in a callback of libsndfile is printed and lost."""

    error: OSError | None = None

    @override
    def write(self, buffer: Any) -> int:
        try:
            return super().write(buffer)
        except OSError as error:
            self.error = self.error or error
            return 0

    @override
    def seek(self, target: int, whence: int = 0, /) -> int:
        try:
            return super().seek(target, whence)  # writes first what it holds
        except OSError as error:
            self.error = self.error or error
            return self.tell()


@contextmanager
def flac_writer(path: Path) -> Generator[soundfile.SoundFile, None, None]:
    """A mono FLAC file of 16 bits at `SAMPLE_RATE_HZ`, to be written in the block.

    Raises:
        OSError: the file could not be written whole.
    """
    with _CheckedFile(io.FileIO(path, "w")) as file:
        try:
            with soundfile.SoundFile(file, "w", SAMPLE_RATE_HZ, 1, subtype="PCM_16", format="FLAC") as sound:
                yield sound
        finally:
            if file.error is not None:
                raise file.error
