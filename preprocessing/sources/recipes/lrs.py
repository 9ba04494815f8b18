"""LRS2 (`{pretrain,main}/<video>/00001.mp4`, with lists) and LRS3 (`{pretrain,trainval,test}/…`).

Neither names the people: the video that an utterance was cut from stands for the person.
"""

import re
from pathlib import Path
from typing import Final

from preprocessing.sources.recipes.layout import Recipe, Record, Rows, rows_by_name
from preprocessing.sources.remote import SourcePath

LAYOUT: Final = "pretrain/<video>/00001.mp4"
NAME: Final = re.compile(r"(?:.*/)?(pretrain|main|trainval|test)/([\w-]+)/(\d{5})\.\w+")
LISTS: Final = {"pretrain": "train", "train": "train", "val": "validation", "test": "test"}


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row an utterance; `annotations` is LRS2's folder of train.txt, val.txt and test.txt, if there."""
    splits = {} if annotations is None else read_splits(annotations)

    def record_of(relative: str) -> Record | None:
        named = NAME.fullmatch(relative)
        if named is None:
            return None
        subset, video, number = named.groups()
        split = splits.get(f"{video}/{number}", "") if subset == "main" else subset
        return {"identity": video, "split": split, "subset": subset, "utterance": number, "language": "en"}

    return rows_by_name(folder, LAYOUT, record_of)


def read_splits(folder: Path) -> dict[str, str]:
    """`<video>/<number>` -> split, of the lists of LRS2's `main`.

    Raises:
        ValueError: there is none of the lists.
    """
    splits: dict[str, str] = {}
    for name, split in LISTS.items():
        path = folder / f"{name}.txt"
        if name != "pretrain" and path.is_file():
            words = (line.split() for line in path.read_text("utf-8").splitlines())
            splits |= {line[0]: split for line in words if line}
    if not splits:
        raise ValueError(f"{folder} has none of train.txt, val.txt and test.txt")
    return splits


RECIPES: Final = (
    Recipe("lrs2", "LRS2", rows, licence="research only (BBC's agreement)"),
    Recipe("lrs3", "LRS3", rows, licence="CC BY-NC-ND 4.0 (TED)"),
)
