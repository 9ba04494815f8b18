"""What the recipes share: the videos of a folder by name, and rows of files that do not fit a layout."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from preprocessing.sources.discovery import SourceFile, videos_below
from preprocessing.sources.lists.files import SEVERAL, key_index
from preprocessing.sources.lists.rows import RefusedRow
from preprocessing.sources.remote import SourcePath

Record = dict[str, Any]
Rows = Iterator[Record | RefusedRow]
NOT_OF_THE_LAYOUT: Final = "not_of_the_layout"
YOUTUBE_ID: Final = r"[\w-]{11}"
NAMED_CUT: Final = re.compile(rf"({YOUTUBE_ID})(?:_\d+)?_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)")
CUT_TOLERANCE_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Recipe:
    """A corpus as people have it on disk."""

    name: str
    title: str
    rows: Callable[[SourcePath, Path | None], Rows]  # of the folder of videos and the file of annotations
    annotations: str = ""  # which file `rows` needs; empty: none
    licence: str = ""  # as its authors state it, for the sample's label `licence`


def rows_by_name(
    folder: SourcePath, layout: str, record_of: Callable[[str], Record | RefusedRow | None]
) -> Rows:
    """A row for each video of a folder, in the order of their names.

    Args:
        folder: of the videos.
        layout: what a name should look like, for the refusal of others.
        record_of: the record of a path below the folder; None where it does not fit.
    """
    files = sorted(videos_below(folder, []), key=lambda file: file.relative_path)
    for file in files:
        record = record_of(file.relative_path)
        if isinstance(record, dict):
            yield {"path": file.location, **record}
        elif record is None:
            yield RefusedRow(NOT_OF_THE_LAYOUT, f"the name does not fit {layout}", file.relative_path)
        else:
            record.path = file.relative_path
            yield record


class VideosByName:
    """The videos of a folder by stem, and those that were cut out of a YouTube video by its id and times."""

    def __init__(self, folder: SourcePath) -> None:
        files: list[SourceFile] = list(videos_below(folder, []))
        self._keys = key_index((file.relative_path, file.location) for file in files)
        self._cuts: dict[str, list[tuple[float, float, str]]] = {}
        for file in files:
            stem = file.relative_path.rpartition("/")[2].rpartition(".")[0]
            if named := NAMED_CUT.fullmatch(stem):
                cut = (float(named[2]), float(named[3]), file.location)
                self._cuts.setdefault(named[1], []).append(cut)

    def find(self, *stems: str) -> str | None:
        """The location of the first of some stems that exactly one video has."""
        found = (self._keys.get(stem) for stem in stems)
        return next((location for location in found if location not in (None, SEVERAL)), None)

    def find_cut(self, video: str, start: float, end: float) -> str | None:
        """The location of the part of a YouTube video that is named `<id>_<start>_<end>`, in seconds."""
        for first, last, location in self._cuts.get(video, []):
            if abs(first - start) <= CUT_TOLERANCE_SECONDS and abs(last - end) <= CUT_TOLERANCE_SECONDS:
                return location
        return None


def part_of_youtube_video(
    videos: VideosByName, video: str, start: float, end: float, *stems: str
) -> Record | RefusedRow:
    """Path, start and end of a part: its own file (a stem, or named by its times), or the whole video."""
    location = videos.find(*stems) or videos.find_cut(video, start, end)
    if location is not None:
        return {"path": location}
    if (whole := videos.find(video)) is not None:
        return {"path": whole, "start": start, "end": end}
    names = ", ".join(dict.fromkeys((*stems, f"{video}_{start:g}_{end:g}", video)))
    return RefusedRow("not_found", f"no video is called {names}", video)
