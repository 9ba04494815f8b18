"""Command-line options made from settings classes."""

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from pydantic.fields import FieldInfo

from storage.printable import display_text
from storage.settings import Settings, bounds_text, choices, nested_class, without_none

Command = Callable[..., None]

_TYPES: Final[Mapping[Any, Any]] = {
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
    Path: click.Path(path_type=Path),
}


class _Entry(NamedTuple):
    """One option."""

    path: tuple[str, ...]
    info: FieldInfo
    flag: str  # without dashes

    @property
    def parameter(self) -> str:
        """Name of click's parameter."""
        return "_".join(self.path)


def options_from(
    kind: type[Settings],
    argument: str,
    *,
    left_out: tuple[str, ...] = (),
    suffixes: Mapping[str, str] | None = None,
    short: Mapping[str, str] | None = None,
) -> Callable[[Command], Command]:
    """Add an option for every field of a settings class; the command gets the settings as one argument.

    An option that is not given takes the deployment's value, or the default of a class without a section.

    Args:
        kind: the settings class.
        argument: name of the command's argument.
        left_out: fields without an option.
        suffixes: for each field of nested settings, the suffix of their options: {"strengths": "strength"}
            gives --lip-strength.
        short: second names of options by field, such as {"output": "-o"}.
    """
    entries = [*_entries(kind, left_out, suffixes or {})]

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_settings(**values: Any) -> None:
            given = {entry.path: values.pop(entry.parameter) for entry in entries}
            values[argument] = _settings(kind, given)
            command(**values)

        with_options: Command = with_settings
        for entry in reversed(entries):
            with_options = _option(entry, (short or {}).get(entry.path[-1]))(with_options)
        return with_options

    return decorate


def _entries(
    kind: type[Settings], left_out: tuple[str, ...], suffixes: Mapping[str, str]
) -> Iterator[_Entry]:
    for name, info in kind.model_fields.items():
        if name in left_out:
            continue
        if nested := nested_class(info):
            for inner, inner_info in nested.model_fields.items():
                yield _Entry((name, inner), inner_info, f"{inner}_{suffixes[name]}".replace("_", "-"))
        else:
            yield _Entry((name,), info, name.replace("_", "-"))


def _settings(kind: type[Settings], given: Mapping[tuple[str, ...], Any]) -> Settings:
    from pipelines.deployed_settings import SECTIONS, deployed

    try:
        values = deployed(kind).model_dump() if kind in SECTIONS else {}
        for path, value in given.items():
            if value is not None:
                group = values
                for part in path[:-1]:
                    group = group.setdefault(part, {})
                group[path[-1]] = value
        return kind.model_validate(values)
    except ValueError as error:
        raise click.UsageError(display_text(error)) from error


def _option(entry: _Entry, short: str | None) -> Callable[[Command], Command]:
    info, hint = entry.info, without_none(entry.info.annotation)
    kind: Any = click.Choice(values) if (values := choices(info)) else _TYPES.get(hint)
    flag = f"--{entry.flag}/--no-{entry.flag}" if hint is bool else f"--{entry.flag}"
    bounds = "" if values else bounds_text(info)  # click lists the choices itself
    help_text = f"{info.description}{f' ({bounds})' if bounds else ''}."
    if not info.is_required() and info.default not in ("", None):
        help_text += f"  [default: {_shown(entry.flag, info.default)}]"
    names = [name for name in (short, flag, entry.parameter) if name]
    # The default is filled in when all options are parsed: None marks an option that is not given.
    return click.option(*names, type=kind, default=None, required=info.is_required(), help=help_text)


def _shown(flag: str, default: object) -> str:
    if isinstance(default, bool):
        return flag if default else f"no-{flag}"
    return f"{default:g}" if isinstance(default, float) else str(default)
