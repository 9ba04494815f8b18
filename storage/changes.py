"""What differs between the recipe that a published build was made by and the one wanted now."""

import json
from collections.abc import Mapping

from storage.fingerprint import JsonValue, canonical_json


def setting_changes(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> list[str]:
    """Every setting that differs, with both values, such as ``setting minimum_face_px: 48 -> 64``."""
    old_leaves, new_leaves = _leaves(old), _leaves(new)
    changes: list[str] = []
    for name in sorted(old_leaves.keys() | new_leaves.keys()):
        before, after = old_leaves.get(name, "not set"), new_leaves.get(name, "not set")
        if before != after:
            changes.append(f"setting {name}: {before} -> {after}")
    return changes


def input_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Every input that differs, such as ``input clips changed``."""
    changes: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            changes.append(f"input {name} removed")
        elif name not in old:
            changes.append(f"input {name} added")
        elif old[name] != new[name]:
            changes.append(f"input {name} changed")
    return changes


def _leaves(settings: Mapping[str, JsonValue], prefix: str = "") -> dict[str, str]:
    """Dotted name -> JSON text; a list is one leaf, so that a change of it reads as one."""
    leaves: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            leaves.update(_leaves(value, f"{prefix}{name}."))
        else:
            leaves[prefix + name] = json.dumps(json.loads(canonical_json(value)), ensure_ascii=False)
    return leaves
