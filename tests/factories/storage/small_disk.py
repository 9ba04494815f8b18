"""A small disk of its own, which a test fills and makes read-only."""

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

FILLER_NAME = "filler"


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs."""

    path: Path

    def fill(self, free_bytes: int = 0) -> None:
        """Leave so much space, rounded down to pages."""
        self.clear()
        with (self.path / FILLER_NAME).open("wb") as file:
            file.truncate(0)
            left = psutil.disk_usage(str(self.path)).free - free_bytes
            file.write(bytes(max(0, left)))

    def clear(self) -> None:
        """Give the space back."""
        (self.path / FILLER_NAME).unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Generator[None, None, None]:
        """Mounted read-only in the block."""
        _remount(self.path, "ro")
        try:
            yield
        finally:
            _remount(self.path, "rw")

    def partials(self) -> list[str]:
        """Partial files at any depth."""
        return [str(path.relative_to(self.path)) for path in self.path.rglob("*.partial-*")]


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Generator[SmallDisk, None, None]:
    """A disk of so many MiB, mounted at `folder`; the test is skipped where mounting is not permitted."""
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("no command `mount`")
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs"]
    mounted = subprocess.run([mount, *options, str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run([mount.replace("mount", "umount"), "--lazy", str(folder)], check=True)


def _remount(folder: Path, mode: str) -> None:
    mount = shutil.which("mount")
    assert mount is not None
    subprocess.run([mount, "-o", f"remount,{mode}", str(folder)], check=True)
