"""Fingerprints: the canonical JSON of a value, and its sha256.

Canonical JSON has sorted keys, no spaces, ASCII only, and floats in Python's shortest form that round-trips
(`repr`), so it is the same on every machine.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

from storage.settings import Settings

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

DIGEST_DIGITS: Final = 16  # of a sha256, where it is shown
WEIGHTS_DIGITS: Final = 8  # of the sha256 of weights, in the names of labellers and scorers


def to_json_value(value: object, path: str = "value") -> JsonValue:
    """Convert a value to JSON values: dataclasses and settings to dicts, tuples to lists.

    Args:
        value: None, bool, int, float, str, or lists, tuples, string-keyed mappings, dataclass
            instances and settings of these, nested to any depth.
        path: name of `value` in errors.

    Raises:
        TypeError: a value of another type, or a key that is not a string.
        ValueError: a float that is not finite, which JSON cannot hold.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} is {value!r}: a fingerprint needs finite numbers")
        return float(value)
    if isinstance(value, list | tuple):
        items: Sequence[object] = value
        return [to_json_value(item, f"{path}[{index}]") for index, item in enumerate(items)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: to_json_value(getattr(value, name), f"{path}.{name}") for name in names}
    if isinstance(value, Settings):
        return {name: to_json_value(item, f"{path}.{name}") for name, item in value}
    if isinstance(value, Mapping):
        return _mapping_to_json(value, path)
    raise TypeError(f"{path} is a {type(value).__name__}, which has no canonical JSON form: {value!r}")


def _mapping_to_json(mapping: Mapping[object, object], path: str) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = {}
    for key, item in mapping.items():
        if not isinstance(key, str):
            raise TypeError(f"{path} has the key {key!r}, a {type(key).__name__}: keys must be strings")
        plain[str.__str__(key)] = to_json_value(item, f"{path}.{key}")
    return plain


def canonical_json(value: object) -> str:
    """The canonical JSON of a value; equal values give equal texts. Raises as `to_json_value`."""
    return json.dumps(to_json_value(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: object) -> str:
    """sha256, 64 hex digits, of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def file_sha256(path: str | PathLike[str]) -> str:
    """sha256 of a local file, 64 hex digits; the file is read in chunks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
