"""GRID: `s1/bbaf2n.mpg`, also with folders between; the speaker is a folder, the sentence is in the name."""

import re
from pathlib import Path
from typing import Final

from preprocessing.sources.recipes.layout import Recipe, Record, Rows, rows_by_name
from preprocessing.sources.remote import SourcePath

LAYOUT: Final = "s1/bbaf2n.mpg"
NAME: Final = re.compile(r"(?:.*/)?(s\d{1,2})/(?:.*/)?([blps])([bgrw])([abiw])([a-z])([z1-9])([anps])\.\w+")
WORDS: Final = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},
    {"z": "zero", "1": "one", "2": "two", "3": "three", "4": "four",
     "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine"},
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)  # fmt: skip
"""Command, colour, preposition, letter, digit, adverb."""


def rows(folder: SourcePath, annotations: Path | None) -> Rows:
    """A row a sentence. There are no annotations beside the name."""
    del annotations
    return rows_by_name(folder, LAYOUT, _record)


def _record(relative: str) -> Record | None:
    named = NAME.fullmatch(relative)
    if named is None:
        return None
    speaker, *codes = named.groups()
    text = " ".join(words.get(code, code) for words, code in zip(WORDS, codes, strict=True))
    return {"identity": speaker, "language": "en", "text": text}


RECIPE: Final = Recipe("grid", "GRID", rows, licence="CC BY 4.0")
