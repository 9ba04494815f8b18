"""Settings of a deployment: the defaults of each settings class, changed by environment variables.

A variable is named after the path of its setting in capitals, the parts separated by two underscores, such as
``PDFGC__PREPROCESSING__CLIPS__MINIMUM_FACE_SIZE_PX=48``. Launchpad forms, command-line options, sensors and
`pdfgc status` take their defaults from these settings. Imports nothing heavy.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from evaluation.comparison.baseline_settings import BaselineSettings
from evaluation.config import EvaluationConfig
from pipelines.operations.cluster_resources import ClusterResources
from pipelines.operations.maintenance.gc_settings import GcSettings
from pipelines.operations.settings import OperationsSettings
from preprocessing.dataset.joining import DatasetSettings
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.stored_catalog import SourceSettings
from storage.printable import HIDDEN, without_secrets
from storage.settings import Settings, bounds_text, near_names, nested_class, settings_error
from training.jobs.config import TrainingConfig
from training.launch.launchers import LaunchSettings

PREFIX: Final = "PDFGC__"
DELIMITER: Final = "__"

SettingsT = TypeVar("SettingsT", bound=Settings)


class DeployedSettings(BaseSettings):
    """Every settings class that a deployment can change, by section."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, frozen=True
    )

    sources: SourceSettings = SourceSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    dataset: DatasetSettings = DatasetSettings()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    baseline: BaselineSettings = BaselineSettings()
    collection: GcSettings = GcSettings()
    operations: OperationsSettings = OperationsSettings()
    cluster: ClusterResources = ClusterResources()
    launch: LaunchSettings = LaunchSettings()


SECTIONS: Final = {
    kind: name for name, info in DeployedSettings.model_fields.items() if (kind := nested_class(info))
}
"""Names of the sections by their settings class."""


@dataclass(frozen=True)
class SettingRow:
    """One setting as `pdfgc settings` shows it."""

    variable: str
    value: Any
    default: Any
    description: str
    bounds: str  # such as "0 to 1"; empty for none


def deployed(kind: type[SettingsT]) -> SettingsT:
    """The settings of one section, by its class. Errors: `deployed_settings`."""
    return getattr(deployed_settings(), SECTIONS[kind])


def deployed_settings() -> DeployedSettings:
    """All settings of this deployment.

    Raises:
        ValueError: a variable names no setting, or its value is refused; names the variable, the value, and
            the bounds or similar names.
    """
    _check_names(variable for variable in os.environ if variable.startswith(PREFIX))
    try:
        return DeployedSettings()
    except ValidationError as error:
        problems = [(_variable(path), text) for path, text in settings_error(error).problems]
        raise ValueError("; ".join(f"{variable}{text}" for variable, text in problems)) from error


def setting_rows() -> list[SettingRow]:
    """Every setting of this deployment. Errors: `deployed_settings`."""
    settings = deployed_settings()
    return [row for name in SECTIONS.values() for row in _rows(getattr(settings, name), (name,))]


def _rows(settings: Settings, prefix: tuple[str, ...]) -> Iterator[SettingRow]:
    defaults = type(settings)()
    for name, info in type(settings).model_fields.items():
        value, default, path = getattr(settings, name), getattr(defaults, name), (*prefix, name)
        if isinstance(value, Settings):
            yield from _rows(value, path)
        else:
            value, default = _without_secret(value), _without_secret(default)
            yield SettingRow(_variable(path), value, default, info.description or "", bounds_text(info))


def _without_secret(value: Any) -> Any:
    """A value as it may be shown."""
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    return without_secrets(value) if isinstance(value, str) else value


def _check_names(variables: Iterable[str]) -> None:
    known = [*_variables(DeployedSettings, ())]
    for variable in sorted(variables):
        if variable not in known:
            raise ValueError(
                f"{variable} is not a setting{near_names(variable, known)}; `pdfgc settings` lists all"
            )


def _variables(kind: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[str]:
    for name, info in kind.model_fields.items():
        nested = nested_class(info)
        yield from _variables(nested, (*prefix, name)) if nested else [_variable((*prefix, name))]


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + DELIMITER.join(path).upper()
