"""JSON objects that hold the sha256 of their other fields: a changed byte is found when they are read."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from storage.fingerprint import fingerprint

SEAL: Final = "sha256"


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and their sha256 in the field `sha256`."""
    assert SEAL not in values
    return {**values, SEAL: fingerprint(values)}


def unsealed(values: Mapping[str, Any], names: Collection[str] | None = None) -> dict[str, Any]:
    """The values of an object that `sealed` made, or that has no seal because it is older.

    Args:
        values: the object.
        names: that it may have beside the seal; None: the caller refuses others. Else a seal whose own name
            changed would pass as a value.

    Raises:
        ValueError: its values are not those that were sealed, or have another name.
    """
    rest = {name: value for name, value in values.items() if name != SEAL}
    if names is not None and (unknown := sorted(rest.keys() - set(names))):
        raise ValueError(f"it has the unknown field {unknown[0]!r}")
    seal = values.get(SEAL)
    if seal is not None and seal != (actual := fingerprint(rest)):
        raise ValueError(
            f"it changed since it was written: its values have sha256 {actual[:16]}, "
            f"recorded is {str(seal)[:16]}"
        )
    return rest


def read_sealed(text: str, names: Collection[str] | None = None) -> dict[str, Any]:
    """`unsealed` of a JSON text. Raises also where that is no JSON object."""
    values: Any = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"it is no JSON object but {text[:40]!r}")
    return unsealed(values, names)


def is_sealed(text: str) -> bool:
    """Whether a JSON object has a seal."""
    return SEAL in json.loads(text)
