"""Settings of a deployment: the defaults, and what the environment puts in their place.

A variable names a setting by its path, in capitals, with two underscores between the parts, such as
``PDFGC__PREPROCESSING__CLIPS__MINIMUM_FACE_SIZE_PX=48``. Forms in the launchpad, the command line,
sensors and the staleness report all begin from these values. Imports nothing heavy.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final, TypeVar, get_type_hints

from pydantic import ValidationError

from evaluation.comparison.regressions import AcceptanceSettings
from evaluation.config import EvaluationChoice
from pipelines.config_form import form_of, settings_from
from pipelines.operations.collection_settings import CollectionSettings
from pipelines.operations.settings import OperationsSettings
from preprocessing.dataset.joining import DatasetSettings
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.source_videos import SourceSettings
from training.jobs.config import TrainingChoice

PREFIX: Final = "PDFGC__"
BETWEEN: Final = "__"
SECTIONS: Final[Mapping[str, type[Any]]] = {
    "sources": SourceSettings,
    "preprocessing": PreprocessingSettings,
    "dataset": DatasetSettings,
    "training": TrainingChoice,
    "evaluation": EvaluationChoice,
    "acceptance": AcceptanceSettings,
    "collection": CollectionSettings,
    "operations": OperationsSettings,
}
"""Every settings dataclass that a deployment may change, by the first part of its variables."""

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class SettingRow:
    """One setting as a person sees it."""

    variable: str
    value: Any
    default: Any
    description: str
    bounds: str  # such as "0 to 1"; empty for none


def deployed(kind: type[Settings], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a kind that `SECTIONS` holds: defaults, changed as the environment tells.

    Raises:
        ValueError: a variable that names no setting, or a value that its setting does not take; names the
            variable, the value, and the bounds or the nearest names.
    """
    environment = os.environ if environment is None else environment
    section = next(name for name, known in SECTIONS.items() if known is kind)
    told: dict[str, Any] = {}
    for variable, value in sorted(environment.items()):
        if variable.startswith(PREFIX):
            path = _path(variable)
            if path[0] == section:
                _put(told, path[1:], value)
    try:
        return settings_from(kind, form_of(kind)(**told))
    except ValidationError as error:
        raise ValueError(_one_line(section, error)) from error
    except ValueError as error:
        raise ValueError(f"the variables {_prefix(section)}… do not go together: {error}") from error


def setting_rows(environment: Mapping[str, str] | None = None) -> list[SettingRow]:
    """Every setting with its variable, value, default, description and bounds. Errors: `deployed`."""
    return [
        row
        for section, kind in SECTIONS.items()
        for row in _rows(_prefix(section), deployed(kind, environment), kind())
    ]


def _rows(prefix: str, settings: Any, default: Any) -> Iterator[SettingRow]:
    for entry in fields(settings):
        value, usual = getattr(settings, entry.name), getattr(default, entry.name)
        if is_dataclass(value):
            yield from _rows(f"{prefix}{entry.name.upper()}{BETWEEN}", value, usual)
            continue
        bounds = _bounds(entry.metadata.get("minimum"), entry.metadata.get("maximum"))
        description = entry.metadata.get("description", "")
        yield SettingRow(f"{prefix}{entry.name.upper()}", value, usual, description, bounds)


def _bounds(minimum: int | float | None, maximum: int | float | None) -> str:
    if minimum is None:
        return "" if maximum is None else f"at most {maximum:g}"
    return f"at least {minimum:g}" if maximum is None else f"{minimum:g} to {maximum:g}"


def _prefix(section: str) -> str:
    return f"{PREFIX}{section.upper()}{BETWEEN}"


def _path(variable: str) -> list[str]:
    """The parts of a variable's name. Raises ValueError where no setting is called so."""
    path = variable.removeprefix(PREFIX).lower().split(BETWEEN)
    known = _variables()
    if variable not in known:
        near = difflib.get_close_matches(variable, known, n=3, cutoff=0.6)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ValueError(f"{variable} names no setting{hint}; `pdfgc settings` lists them all")
    return path


def _variables() -> list[str]:
    return [name for section, kind in SECTIONS.items() for name in _names(_prefix(section), kind)]


def _names(prefix: str, kind: type[Any]) -> Iterator[str]:
    hints = get_type_hints(kind)
    for entry in fields(kind):
        name, hint = f"{prefix}{entry.name.upper()}", hints[entry.name]
        is_group = isinstance(hint, type) and is_dataclass(hint)
        yield from _names(name + BETWEEN, hint) if is_group else [name]


def _put(told: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        told = told.setdefault(part, {})
    told[path[-1]] = value


def _one_line(section: str, error: ValidationError) -> str:
    """Pydantic's complaints, each with its variable and value."""
    complaints = []
    for one in error.errors():
        variable = _prefix(section) + BETWEEN.join(str(part).upper() for part in one["loc"])
        complaints.append(f"{variable} is {one['input']!r}: {one['msg']}")
    return "; ".join(complaints)
