"""A small recipe, its builder, and the ways in which the tests run it in another process."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from upath import UPath

from storage.atomic import write_atomically
from storage.manifest import Input
from storage.publishing import BuildReport, Published, Recipe, materialise

FILES = {"shards-000.tar": b"first" * 1000, "parts/a.bin": b"second" * 1000, "index.json": b"{}"}


@dataclass(frozen=True)
class ClipSettings:
    minimum_face_px: int = 48
    mode: str = "official"


def recipe(settings: ClipSettings | None = None, code_version: str = "1", **inputs: str) -> Recipe:
    """A recipe of the asset `clips`; `inputs` are digests by name."""
    digests = inputs or {"tracks": "abc"}
    read = {name: Input(digest) for name, digest in digests.items()}
    return Recipe("clips", "batch-0000", code_version, settings or ClipSettings(), read)


def build(work: Path) -> BuildReport:
    """Write FILES, leaving out what a killed predecessor has finished."""
    for name, content in FILES.items():
        if not (work / name).exists():
            with write_atomically(work / name) as partial, partial.open("wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                file.write(content[len(content) // 2 :])
    return BuildReport(counts={"clips": 3}, refusals={"blurred": 1})


def materialise_small(root: UPath, *, force: bool = False) -> Published:
    return materialise(root, recipe(), build, force=force)


def files_below(directory: Path) -> dict[str, bytes]:
    """Every file at any depth but the manifest, by relative path."""
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def changes_files(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event is about to change a name in the file system."""
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def kill_before_change(number: int, below: Path) -> None:
    """SIGKILL this process just before its change of that number (from 0) below a directory."""
    seen = count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if (
            changes_files(event, arguments)
            and str(arguments[0]).startswith(str(below))
            and next(seen) == number
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def killed_at_every_change(root_of: Callable[[int], Path], run: Callable[[UPath], object]) -> Iterator[int]:
    """Run in a child process per change, each killed before it; gives each number, ends with a whole run.

    `root_of` prepares and gives the root of one number.
    """
    for number in count():
        root = root_of(number)
        child = os.fork()
        if child == 0:
            try:
                kill_before_change(number, root)
                run(UPath(root))
                os._exit(0)
            finally:  # never back into pytest, whatever was raised
                traceback.print_exc()
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield number
