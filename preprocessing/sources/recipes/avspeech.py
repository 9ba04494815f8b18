"""AVSpeech: `avspeech_train.csv` or `avspeech_test.csv`, beside cut or whole videos.

A line is YouTube id, start, end in seconds, and x, y of the face in shares of the picture; there is no header
and no identity: the video stands for the person.
"""

import csv
from pathlib import Path
from typing import Final

from preprocessing.sources.lists.rows import RefusedRow
from preprocessing.sources.recipes.layout import Recipe, Record, Rows, VideosByName, part_of_youtube_video
from preprocessing.sources.remote import SourcePath

SETS: Final = {"avspeech_train": "train", "avspeech_test": "test"}


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a line; `annotations` is the CSV file.

    Raises:
        ValueError: it is not given.
    """
    if annotations is None:
        raise ValueError("AVSpeech needs avspeech_train.csv or avspeech_test.csv: set --annotations")
    videos = VideosByName(folder)
    split = SETS.get(annotations.stem, "")
    with annotations.open(encoding="utf-8-sig", newline="") as file:
        for number, values in enumerate(csv.reader(file), start=1):
            yield _record(videos, values, number, split)


def _record(videos: VideosByName, values: list[str], number: int, split: str) -> Record | RefusedRow:
    try:
        video, start, end, x, y = values
        part = part_of_youtube_video(videos, video, float(start), float(end))
    except ValueError:
        return RefusedRow("damaged_row", f"line {number} is not id, start, end, x, y: {values}")
    if isinstance(part, RefusedRow):
        return part
    return part | {"face_x": x, "face_y": y, "identity": video, "split": split}


RECIPE: Final = Recipe(
    "avspeech",
    "AVSpeech",
    rows,
    annotations="avspeech_train.csv or avspeech_test.csv",
    licence="videos: terms of YouTube and their owners",
)
