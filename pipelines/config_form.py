"""Dagster forms made from settings classes, so that defaults, descriptions and bounds stand once.

Dagster's Config takes neither pydantic models of other bases, tuples nor paths: a form is the same class on
Dagster's base. It checks types alone; `settings_from` checks the values, with the settings' own sentences.
"""

from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from dagster import Config
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from storage.settings import Settings, bounds_text

SettingsT = TypeVar("SettingsT", bound=Settings)


@cache
def form_of(kind: type[Settings], left_out: tuple[str, ...] = (), deployed: Any = None) -> type[Config]:
    """A Config class with the fields of a settings class; nested settings become nested forms.

    Args:
        kind: the settings class.
        left_out: fields that are not shown and keep their defaults.
        deployed: an instance of `kind` with the form's defaults; None takes those of the class.
    """
    entries: dict[str, Any] = {}
    for name, info in kind.model_fields.items():
        if name in left_out:
            continue
        value = _default(info) if deployed is None else getattr(deployed, name)
        form_type = _form_type(kind, name, info.annotation, value)
        default = _form_default(form_type, value)
        entries[name] = (form_type, Field(default=default, description=_description(info)))
    return create_model(f"{kind.__name__}Form", __base__=Config, __doc__=kind.__doc__, **entries)


def settings_from(kind: type[SettingsT], form: Config) -> SettingsT:
    """The settings that a filled form holds.

    Raises:
        SettingsError: a value is out of its bounds; names it.
    """
    return kind.model_validate(_values(kind, form))


def _values(kind: type[Settings], form: Config) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in type(form).model_fields:
        value, hint = getattr(form, name), kind.model_fields[name].annotation
        if isinstance(value, Config) and isinstance(hint, type) and issubclass(hint, Settings):
            value = _values(hint, value)
        elif isinstance(value, Enum):
            value = value.value
        elif _without_none(hint) is Path:
            if not value:
                continue  # an empty line: the default, or the error that it is required
            value = Path(value).expanduser()
        values[name] = value
    return values


def _form_type(owner: type[Settings], name: str, hint: Any, value: Any = None) -> Any:
    if isinstance(hint, type) and issubclass(hint, Settings):
        return form_of(hint, deployed=value)
    if get_origin(hint) is Literal:
        # Dagster shows an enumeration as a choice; of `Literal | None` it knows none.
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


def _default(info: FieldInfo) -> Any:
    return ... if info.is_required() else info.get_default(call_default_factory=True)


def _form_default(form_type: Any, value: Any) -> Any:
    if value is ...:
        return ...
    if isinstance(form_type, type) and issubclass(form_type, Config):
        return form_type()
    if isinstance(form_type, type) and issubclass(form_type, Enum):
        return form_type(value)
    if form_type is str:
        return "" if value is None else str(value)
    return list(value) if isinstance(value, tuple) else value


def _description(info: FieldInfo) -> str | None:
    bounds = bounds_text(info)
    return f"{info.description} ({bounds})" if info.description and bounds else info.description
