"""Dagster forms made from settings dataclasses, so that defaults, bounds and names stand once.

A form shows every field with its default; a field's description is its dataclass metadata's
`description`. A field without a default must be filled in; a path is a line of text, empty for none. Wrong
values are refused by the dataclass's own checks before anything runs.
"""

from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dagster import Config
from pydantic import Field as FormField
from pydantic import create_model

Settings = TypeVar("Settings")


@cache
def form_of(settings: type[Any], left_out: tuple[str, ...] = (), deployed: Any = None) -> type[Config]:
    """A Config class with the fields of a settings dataclass; nested dataclasses become nested forms.

    Fields `left_out` are not shown and keep their defaults. Where `deployed`, an instance of `settings`, is
    given, its values are the form's defaults.
    """
    hints = get_type_hints(settings)
    entries: dict[str, Any] = {}
    for entry in fields(settings):
        if entry.name in left_out:
            continue
        value = None if deployed is None else getattr(deployed, entry.name)
        kind = _form_type(settings, entry.name, hints[entry.name], value)
        default = _form_default(entry, kind, deployed)
        entries[entry.name] = (kind, FormField(default=default, **_facts(entry)))
    return create_model(f"{settings.__name__}Form", __base__=Config, __doc__=settings.__doc__, **entries)


def settings_from(kind: type[Settings], form: Config) -> Settings:
    """The settings that a filled form tells.

    Raises:
        ValueError: from the dataclass's own checks, naming the value.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for entry in fields(kind):  # pyright: ignore[reportArgumentType]
        if entry.name not in type(form).model_fields:
            continue
        value, hint = getattr(form, entry.name), hints[entry.name]
        if isinstance(hint, type) and is_dataclass(hint):
            value = settings_from(hint, value)
        elif isinstance(value, Enum):
            value = value.value
        elif get_origin(hint) is tuple:
            value = tuple(value)
        elif Path in (hint, _without_none(hint)) and value is not None:
            value = _path(entry.name, value, required=hint is Path)
        values[entry.name] = value
    return kind(**values)


def _path(name: str, text: str, *, required: bool) -> Path | None:
    if required and not text:
        raise ValueError(f"{name} is empty, need a path")
    return Path(text).expanduser() if text else None


def _form_type(owner: type[Any], name: str, hint: Any, deployed: Any = None) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return form_of(hint, deployed=deployed)
    if get_origin(hint) is Literal:
        # Dagster shows an enumeration as a choice; it does not know Literal.
        return Enum(f"{owner.__name__}_{name}", {value: value for value in get_args(hint)})
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]]
    if _without_none(hint) is Path:
        return str  # empty for none: the launchpad shows an empty line, and leaves a None out
    if (inner := _without_none(hint)) is not hint:
        return _form_type(owner, name, inner) | None
    if get_origin(hint) in (Union, UnionType) or hint in (int, float, bool, str):
        return hint
    raise TypeError(f"{owner.__name__}.{name}: a form cannot show {hint}")


def _without_none(hint: Any) -> Any:
    """X of `X | None`; anything else as it is."""
    others = [kind for kind in get_args(hint) if kind is not NoneType]
    is_optional = get_origin(hint) in (Union, UnionType) and len(others) == 1
    return others[0] if is_optional else hint


def _form_default(entry: Field[Any], kind: Any, deployed: Any = None) -> Any:
    if isinstance(kind, type) and issubclass(kind, Config):
        return kind()
    if deployed is not None:
        default = getattr(deployed, entry.name)
    elif entry.default is MISSING and entry.default_factory is MISSING:
        return ...
    else:
        default = entry.default if entry.default is not MISSING else entry.default_factory()  # type: ignore[misc]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(default)
    if kind is str and default is None:
        return ""
    return list(default) if isinstance(default, tuple) else default


def _facts(entry: Field[Any]) -> dict[str, Any]:
    names = {"description": "description", "minimum": "ge", "maximum": "le"}
    return {names[name]: value for name, value in entry.metadata.items() if name in names}
