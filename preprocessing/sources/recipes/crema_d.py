"""CREMA-D: `VideoFlash/1001_DFA_ANG_XX.flv`; actor, sentence, emotion and intensity are in the name."""

import csv
import re
from pathlib import Path
from typing import Final

from preprocessing.sources.recipes.layout import Recipe, Record, Rows, rows_by_name
from preprocessing.sources.remote import SourcePath

LAYOUT: Final = "1001_DFA_ANG_XX.flv"
NAME: Final = re.compile(r"(?:.*/)?(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)\.\w+")
EMOTIONS: Final = {
    "ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad",
}  # fmt: skip
INTENSITIES: Final = {"LO": "low", "MD": "medium", "HI": "high"}  # XX: not specified


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a video; `annotations` is `VideoDemographics.csv`, if there."""
    people = {} if annotations is None else read_people(annotations)

    def record_of(relative: str) -> Record | None:
        named = NAME.fullmatch(relative)
        if named is None:
            return None
        actor, sentence, emotion, level = named.groups()
        return {
            "identity": actor,
            "emotion": EMOTIONS[emotion],
            "intensity": INTENSITIES.get(level, ""),
            "language": "en",
            "sentence": sentence,
            **people.get(actor, {}),
        }

    return rows_by_name(folder, LAYOUT, record_of)


def read_people(path: Path) -> dict[str, dict[str, str]]:
    """Actor -> age and sex.

    Raises:
        ValueError: a column is missing.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    if not lines or not {"ActorID", "Age", "Sex"} <= lines[0].keys():
        raise ValueError(f"{path} must have the columns ActorID, Age and Sex")
    return {line["ActorID"]: {"age": line["Age"], "gender": line["Sex"].lower()} for line in lines}


RECIPE: Final = Recipe("crema-d", "CREMA-D", rows, licence="ODbL 1.0")
