"""RAVDESS: `Actor_01/01-01-03-02-01-01-01.mp4`: modality, channel, emotion, intensity, …, actor."""

import re
from pathlib import Path
from typing import Final

from preprocessing.sources.lists.rows import RefusedRow
from preprocessing.sources.recipes.layout import Recipe, Record, Rows, rows_by_name
from preprocessing.sources.remote import SourcePath

LAYOUT: Final = "Actor_01/01-01-03-02-01-01-01.mp4"
NAME: Final = re.compile(r"(?:.*/)?(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)\.\w+")
MODALITIES: Final = {"01": "picture and sound", "02": "picture alone", "03": "sound alone"}
CHANNELS: Final = {"01": "speech", "02": "song"}
EMOTIONS: Final = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fear", "07": "disgust", "08": "surprised",
}  # fmt: skip
INTENSITIES: Final = {"01": "normal", "02": "strong"}
STATEMENTS: Final = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a video; the copies without sound are refused. There are no annotations beside the name."""
    del annotations
    return rows_by_name(folder, LAYOUT, _record)


def _record(relative: str) -> Record | RefusedRow | None:
    named = NAME.fullmatch(relative)
    if named is None:
        return None
    modality, channel, emotion, intensity, statement, repetition, actor = named.groups()
    if modality in MODALITIES and MODALITIES[modality] != "picture and sound":
        return RefusedRow("no_sound", f"modality {modality} is {MODALITIES[modality]}")
    if modality not in MODALITIES or emotion not in EMOTIONS or channel not in CHANNELS:
        return None
    return {
        "identity": f"Actor_{actor}",
        "emotion": EMOTIONS[emotion],
        "intensity": INTENSITIES.get(intensity, ""),
        "language": "en",
        "channel": CHANNELS[channel],
        "text": STATEMENTS.get(statement, ""),
        "repetition": repetition,
        "gender": "male" if int(actor) % 2 else "female",
    }


RECIPE: Final = Recipe("ravdess", "RAVDESS", rows, licence="CC BY-NC-SA 4.0")
