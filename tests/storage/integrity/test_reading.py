"""Which files a night reads, and that an interrupted run goes on."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from upath import UPath

from storage.fingerprint import file_sha256
from storage.integrity.reading import Expectation, Night, expect_object, read_data

NAMES = tuple(f"file-{number:02d}" for number in range(12))
ALL = Night(1, 0)


def write(root: Path) -> list[Expectation]:
    for name in NAMES:
        (root / name).write_text(name)
    return [expect_object(UPath(root), name, file_sha256(root / name), 7) for name in NAMES]


def reading(expectation: Expectation, before: Callable[[str], None]) -> Expectation:
    def read() -> str:
        before(expectation.path)
        return expectation.read()

    return Expectation(expectation.path, expectation.sha256, expectation.size_bytes, "file", read)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_nights_read_every_file_once(share: float) -> None:
    day = date(2026, 1, 1)
    nights = [Night.of(share, day + timedelta(days=number)) for number in range(round(1 / share))]
    counts = Counter(name for night in nights for name in NAMES if night.has(name))
    assert counts == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share must be above 0 and at most 1"):
        Night.of(share)


def test_differences_are_faults(tmp_path: Path) -> None:
    expectations = write(tmp_path)
    (tmp_path / NAMES[3]).write_text("file-0X")
    (tmp_path / NAMES[5]).unlink()
    result = read_data(UPath(tmp_path), expectations, ALL, threads=2)
    assert [(fault.path, fault.found[:6]) for fault in result.faults] == [
        (NAMES[3], "sha256"),
        (NAMES[5], "nothin"),
    ]
    assert (result.files, result.resumed_files) == (12, 0)


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    expectations = write(tmp_path)
    (tmp_path / NAMES[1]).write_text("file-0X")
    child = os.fork()
    if child == 0:

        def kill(path: str) -> None:
            if path == NAMES[8]:
                os.kill(os.getpid(), signal.SIGKILL)

        killed = [reading(each, kill) for each in expectations]
        read_data(UPath(tmp_path), killed, ALL, threads=1, save_seconds=0.0, files_at_once=1)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    read: list[str] = []
    again = [reading(each, read.append) for each in expectations]
    result = read_data(UPath(tmp_path), again, ALL, threads=1)
    assert read == [NAMES[1], *NAMES[8:]]  # the fault once more: it may have been mended
    assert (result.files, result.resumed_files) == (12, 8)
    assert [fault.path for fault in result.faults] == [NAMES[1]]
    read.clear()
    read_data(UPath(tmp_path), again, ALL, threads=1)
    assert read == list(NAMES)
