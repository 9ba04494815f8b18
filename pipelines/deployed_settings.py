"""Settings of a deployment: the defaults, and what the environment puts in their place.

A variable names a setting by its path, in capitals, with two underscores between the parts, such as
``PDFGC__PREPROCESSING__CLIPS__MINIMUM_FACE_SIZE_PX=48``. Forms in the launchpad, the command line,
sensors and the staleness report all begin from these values. Imports nothing heavy.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from evaluation.comparison.regressions import BaselineSettings
from evaluation.config import EvaluationConfig
from pipelines.operations.collection_settings import CollectionSettings
from pipelines.operations.settings import OperationsSettings
from preprocessing.dataset.joining import DatasetSettings
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.stored_catalog import SourceSettings
from storage.settings import Settings, SettingsError, bounds_text
from training.jobs.config import TrainingConfig

PREFIX: Final = "PDFGC__"
BETWEEN: Final = "__"
SECTIONS: Final[Mapping[str, type[Settings]]] = {
    "sources": SourceSettings,
    "preprocessing": PreprocessingSettings,
    "dataset": DatasetSettings,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "baseline": BaselineSettings,
    "collection": CollectionSettings,
    "operations": OperationsSettings,
}
"""Every settings class that a deployment may change, by the first part of its variables."""

SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True)
class SettingRow:
    """One setting as a person sees it."""

    variable: str
    value: Any
    default: Any
    description: str
    bounds: str  # such as "0 to 1"; empty for none


def deployed(kind: type[SettingsT], environment: Mapping[str, str] | None = None) -> SettingsT:
    """The settings of a kind that `SECTIONS` holds: defaults, changed as the environment says.

    Raises:
        ValueError: a variable that names no setting, or a value that its setting does not take; names the
            variable, the value, and the bounds or the nearest names.
    """
    environment = os.environ if environment is None else environment
    section = next(name for name, known in SECTIONS.items() if known is kind)
    values: dict[str, Any] = {}
    for variable, value in sorted(environment.items()):
        if variable.startswith(PREFIX):
            path = _path(variable)
            if path[0] == section:
                _put(values, path[1:], value)
    try:
        return kind.model_validate(values)
    except SettingsError as error:
        raise ValueError(_with_variables(section, error)) from error


def setting_rows(environment: Mapping[str, str] | None = None) -> list[SettingRow]:
    """Every setting with its variable, value, default, description and bounds. Errors: `deployed`."""
    return [
        row
        for section, kind in SECTIONS.items()
        for row in _rows(_prefix(section), deployed(kind, environment), kind())
    ]


def _rows(prefix: str, settings: Settings, default: Settings) -> Iterator[SettingRow]:
    for name, info in type(settings).model_fields.items():
        value, usual = getattr(settings, name), getattr(default, name)
        if isinstance(value, Settings):
            yield from _rows(f"{prefix}{name.upper()}{BETWEEN}", value, usual)
            continue
        yield SettingRow(f"{prefix}{name.upper()}", value, usual, info.description or "", bounds_text(info))


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


def _names(prefix: str, kind: type[Settings]) -> Iterator[str]:
    for field, info in kind.model_fields.items():
        name, hint = f"{prefix}{field.upper()}", info.annotation
        is_group = isinstance(hint, type) and issubclass(hint, Settings)
        yield from _names(name + BETWEEN, hint) if is_group else [name]


def _put(values: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _with_variables(section: str, error: SettingsError) -> str:
    """The problems, each with the variable that it is of."""
    named = [
        f"{_prefix(section)}{BETWEEN.join(part.upper() for part in path)}{text}"
        for path, text in error.problems
    ]
    return "; ".join(named)
