"""Finds the video that a row of a list names, below the list's folder."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from preprocessing.sources.discovery import SUFFIXES, storable, videos_below
from preprocessing.sources.lists.rows import RefusedRow
from preprocessing.sources.remote import BucketPath, SourcePath

SEVERAL: Final = ""  # in the index: the key names several files


class VideoFinder:
    """Resolves paths and keys to the locations that a scan of the folder lists.

    Paths are looked up in the file system, one call each. The folder is listed only for a bucket, or when the
    first key is asked for.
    """

    def __init__(self, folder: SourcePath) -> None:
        self._folder = folder.resolve()
        self._prefix = f"{str(self._folder).rstrip('/')}/"
        self._objects: set[str] | None = None
        self._keys: dict[str, str] | None = None
        self._last = ("", "")

    def locate(self, path: str, key: str) -> str:
        """The location of the video of a row.

        Raises:
            RefusedRow: `not_found`, `outside_the_folder`, `not_a_video_ending` or `ambiguous_key`.
        """
        if not path:
            return self._locate_key(key)
        if self._last[0] != path:  # rows of one video usually follow each other
            self._last = (path, self._locate_path(path))
        return self._last[1]

    def relative(self, location: str) -> str:
        """A location below the folder."""
        return location.removeprefix(self._prefix)

    def _locate_path(self, path: str) -> str:
        if path.startswith(("http://", "https://")):
            raise RefusedRow("not_found", f"{path} is an address: download it, and give the file's path")
        text = path.replace("\\", "/") if "\\" in path and "/" not in path else path
        location = self._absolute(text)
        if not location.startswith(self._prefix):
            raise RefusedRow("outside_the_folder", f"{path} is not below {self._folder}")
        if not location.lower().endswith(SUFFIXES):
            raise RefusedRow("not_a_video_ending", f"{path} does not end as a video")
        if not self._exists(location):
            raise RefusedRow("not_found", f"there is no file {location}")
        return storable(location)

    def _absolute(self, path: str) -> str:
        if isinstance(self._folder, BucketPath):
            return path if path.startswith("s3://") else self._prefix + path.lstrip("/")
        return os.path.normpath(os.path.join(self._prefix, path))  # noqa: PTH118  (text: a million paths)

    def _exists(self, location: str) -> bool:
        if isinstance(self._folder, Path):
            return os.path.isfile(location)  # noqa: PTH113
        if self._objects is None:
            self._objects = {file.location for file in videos_below(self._folder, [])}
        return location in self._objects

    def _locate_key(self, key: str) -> str:
        if self._keys is None:
            self._keys = key_index(
                (file.relative_path, file.stored_path) for file in videos_below(self._folder, [])
            )
        location = self._keys.get(key)
        if location is None:
            raise RefusedRow("not_found", f"no video below {self._folder} is called {key!r}")
        if location == SEVERAL:
            raise RefusedRow("ambiguous_key", f"several videos below {self._folder} are called {key!r}")
        return location


def key_index(videos: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key -> location, by stem and by relative path without ending; `SEVERAL` where a stem is not unique."""
    keys: dict[str, str] = {}
    for relative, location in videos:
        whole = relative.removesuffix(PurePosixPath(relative).suffix)
        keys[whole] = location
        stem = whole.rpartition("/")[2]
        if stem != whole:
            keys[stem] = SEVERAL if stem in keys else location
    return keys
