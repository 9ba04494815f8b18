"""MEAD: `M003/video/front/happy/level_1/001.mp4`; person, camera, emotion and intensity are in the path."""

import re
from pathlib import Path
from typing import Final

from preprocessing.sources.recipes.layout import Recipe, Record, Rows, rows_by_name
from preprocessing.sources.remote import SourcePath

LAYOUT: Final = "M003/video/front/happy/level_1/001.mp4"
CAMERAS: Final = ("front", "left_30", "left_60", "right_30", "right_60", "top", "down")
EMOTIONS: Final = {
    "angry": "angry", "contempt": "contempt", "disgusted": "disgust", "fear": "fear",
    "happy": "happy", "neutral": "neutral", "sad": "sad", "surprised": "surprised",
}  # fmt: skip
NAME: Final = re.compile(
    rf"(?:.*/)?([MW]\d{{3}})[/_](?:video[/_])?({'|'.join(CAMERAS)})[/_]({'|'.join(EMOTIONS)})"
    r"[/_]level_?([123])[/_](\d{3})\.\w+"
)


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a video. There are no annotations beside the path."""
    del annotations
    return rows_by_name(folder, LAYOUT, _record)


def _record(relative: str) -> Record | None:
    named = NAME.fullmatch(relative)
    if named is None:
        return None
    person, camera, emotion, level, number = named.groups()
    return {
        "identity": person,
        "emotion": EMOTIONS[emotion],
        "intensity": level,
        "language": "en",
        "camera": camera,
        "sentence": number,
        "gender": "male" if person.startswith("M") else "female",
    }


RECIPE: Final = Recipe("mead", "MEAD", rows, licence="research only (MEAD's agreement)")
