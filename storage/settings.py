"""The base class of settings.

Default, bounds and description of a setting are stated once, in `Field(default=, ge=, le=, description=)`.
Launchpad forms, environment variables and command-line options are made from the same classes.
"""

import difflib
import re
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, ClassVar, Final, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from typing_extensions import override

from storage.printable import without_secrets

_WORDS: Final = (
    (r"^Input should be ", "must be "),
    (r"^String should ", "must "),
    (r"greater than or equal to ", ">= "),
    (r"less than or equal to ", "<= "),
    (r"greater than ", "> "),
    (r"less than ", "< "),
    (r", (unable to|got a number with) .*$", ""),
)
"""Pydantic's phrases and their replacements."""
_OUT_OF_BOUNDS: Final = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


class SettingsError(ValueError):
    """Invalid settings, in one line: `loop.steps must be >= 1, got -5`."""

    def __init__(self, problems: Iterable[tuple[tuple[str, ...], str]]) -> None:
        """Args: problems: path of each invalid setting, and the rest of the sentence."""
        self.problems: Final = tuple(problems)
        super().__init__(self.problems)

    @override
    def __str__(self) -> str:
        """All problems, separated by semicolons."""
        return "; ".join(f"{'.'.join(path)}{text}".removeprefix(": ") for path, text in self.problems)


class Settings(BaseModel):
    """Immutable, hashable settings, validated whenever they are created; unknown names are errors.

    Raises:
        SettingsError: a value is out of bounds, of the wrong type, missing or unknown; names its path.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    def __init__(self, **values: Any) -> None:
        """Create settings from keyword arguments."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise settings_error(error, type(self).model_fields) from None

    @classmethod
    @override
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Create settings from a mapping, such as a parsed JSON object.

        Raises:
            SettingsError: as the constructor does.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise settings_error(error, cls.model_fields) from None

    def replace(self, **changes: Any) -> Self:
        """Copy the settings with some fields changed, and validate the copy.

        Raises:
            SettingsError: as the constructor does.
        """
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)


def settings_error(error: ValidationError, known: Iterable[str] = ()) -> SettingsError:
    """Convert pydantic's error to one line.

    Args:
        error: raised while settings were created.
        known: field names to suggest in place of an unknown one.
    """
    return SettingsError(problem for details in error.errors() for problem in _problems(details, known))


def _problems(details: ErrorDetails, known: Iterable[str]) -> list[tuple[tuple[str, ...], str]]:
    path, value = tuple(str(part) for part in details["loc"]), details["input"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, SettingsError):  # of nested settings
        return [(path + inner, text) for inner, text in cause.problems]
    if isinstance(cause, ValueError):
        return [(path, f": {cause}")]  # of a model validator, which names the fields itself
    if details["type"] == "missing":
        return [(path, " is required")]
    if details["type"] == "extra_forbidden":
        return [(path, f" is not a setting{near_names(path[-1], known)}")]
    text = details["msg"]
    for phrase, replacement in _WORDS:
        text = re.sub(phrase, replacement, text)
    # A number from the environment is a str: the message is the same as for a number.
    return [
        (path, f" {text}, got {without_secrets(value if details['type'] in _OUT_OF_BOUNDS else repr(value))}")
    ]


def nested_class(info: FieldInfo) -> "type[Settings] | None":
    """The class of a field of nested settings; None for any other field."""
    hint: Any = info.annotation
    return hint if isinstance(hint, type) and issubclass(hint, Settings) else None


def without_none(hint: Any) -> Any:
    """X of `X | None`; any other type unchanged."""
    others = [kind for kind in get_args(hint) if kind is not NoneType]
    is_optional = get_origin(hint) in (Union, UnionType) and len(others) == 1
    return others[0] if is_optional else hint


def near_names(name: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?` if known names resemble this one, else ""."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def choices(info: FieldInfo) -> tuple[str, ...]:
    """The allowed values of a field, () if it is not limited to some.

    They are those of a Literal or, if they come from a table, of ``json_schema_extra={"enum": [...]}``.
    """
    hint = without_none(info.annotation)
    if get_origin(hint) is Literal:
        return get_args(hint)
    extra = info.json_schema_extra
    values = extra.get("enum", ()) if isinstance(extra, dict) else ()
    return tuple(str(value) for value in values) if isinstance(values, (list, tuple)) else ()


def form_group(info: FieldInfo) -> str:
    """The group of a field in forms, ``json_schema_extra={"form_group": NAME}``; "" for none."""
    extra = info.json_schema_extra
    return str(extra.get("form_group", "")) if isinstance(extra, dict) else ""


def bounds_text(info: FieldInfo) -> str:
    """The bounds of a field, such as "0 to 1", ">= 1" or "cpu, cuda"; "" if it has none."""
    if values := choices(info):
        return ", ".join(values)
    bounds = {
        name: getattr(bound, name)
        for bound in info.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(bound, name, None) is not None
    }
    if "ge" in bounds and "le" in bounds:
        return f"{bounds['ge']:g} to {bounds['le']:g}"
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return ", ".join(f"{sign} {bounds[name]:g}" for name, sign in signs.items() if name in bounds)
