"""VoxCeleb1 and VoxCeleb2: `[dev|test/][mp4/]id00012/21Uxsk56VDQ/00001.mp4`; the identity is in the path."""

import csv
import re
from pathlib import Path
from typing import Final

from preprocessing.sources.recipes.layout import YOUTUBE_ID, Recipe, Record, Rows, rows_by_name
from preprocessing.sources.remote import SourcePath

LAYOUT: Final = "id00012/21Uxsk56VDQ/00001.mp4"
NAME: Final = re.compile(rf"(?:.*/)?(id\d{{5}})/({YOUTUBE_ID})/(\d{{5}})\.\w+")
SUBSET: Final = re.compile(r"(?:.*/)?(?:\w*_)?(dev|test)(?:_\w*)?/")


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row an utterance; `annotations` is `vox1_meta.csv` or `vox2_meta.csv`, if there."""
    people = {} if annotations is None else read_people(annotations)

    def record_of(relative: str) -> Record | None:
        named = NAME.fullmatch(relative)
        if named is None:
            return None
        person = people.get(named[1], {})
        subset = SUBSET.match(relative)
        split = person.get("set") or (subset[1] if subset else "")
        known = {name: person[name] for name in ("gender", "nationality") if name in person}
        return {"identity": named[1], "split": split, "youtube_id": named[2], "utterance": named[3], **known}

    return rows_by_name(folder, LAYOUT, record_of)


def read_people(path: Path) -> dict[str, dict[str, str]]:
    """Id -> gender, set and, of VoxCeleb1, nationality, from the corpus's metadata.

    Raises:
        ValueError: it has no column of ids.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        delimiter = "\t" if "\t" in head and "," not in head else ","
        names = [name.strip().lower() for name in head.split(delimiter)]
        ids = (place for place, name in enumerate(names) if re.fullmatch(r"voxceleb\d id", name))
        number = next(ids, None)
        if number is None:
            raise ValueError(f"{path} has no column 'VoxCeleb1 ID' or 'VoxCeleb2 ID': {head.strip()!r}")
        people: dict[str, dict[str, str]] = {}
        for values in csv.reader(file, delimiter=delimiter):
            texts = [value.strip() for value in values]
            if len(texts) == len(names):
                people[texts[number]] = dict(zip(names, texts, strict=True))
    return people


RECIPES: Final = tuple(
    Recipe(name, title, rows, licence="CC BY 4.0 (metadata); videos: terms of YouTube and their owners")
    for name, title in (("voxceleb1", "VoxCeleb1"), ("voxceleb2", "VoxCeleb2"))
)
