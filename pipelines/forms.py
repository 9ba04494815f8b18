"""Dagster config and resource classes made from settings classes.

Dagster builds launchpad forms from its own `Config` classes only, which take no tuples, paths or optional
enumerations. These functions copy the fields of a settings class, with defaults and descriptions, to such a
class. Bounds are not copied: `to_settings` builds the settings, which check them. An angle, `NAME_rad` in the
settings, is `NAME_degrees` in a form made with `degrees`. Fields of one `form_group` stand together under its
name, such as `pretrained:`, below the others.
"""

import math
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar, get_args, get_origin

from dagster import Bool, Config, ConfigurableResource, Int, String
from dagster._config.pythonic_config import conversion_utils
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from pipelines.deployed_settings import SECTIONS, deployed
from storage.settings import Settings, bounds_text, choices, form_group, nested_class, without_none

SettingsT = TypeVar("SettingsT", bound=Settings)

RADIANS: Final = "_rad"
DEGREES: Final = "_degrees"
# Dagster would put a variable of the environment in place of `{env: NAME}`: whoever may launch a run could
# read passwords in its error. There is no option; forms are converted by these names.
conversion_utils.StringSource = String  # pyright: ignore[reportPrivateImportUsage]
conversion_utils.IntSource = Int  # pyright: ignore[reportPrivateImportUsage]
conversion_utils.BoolSource = Bool  # pyright: ignore[reportPrivateImportUsage]

DEGREE_DIGITS: Final = 9  # after the point: 4 degrees are read back as the same radians


class SettingsConfig(Config, Generic[SettingsT]):
    """Config of an op or asset with the fields of a settings class."""

    settings_class: ClassVar[type[Any]]
    angles_rad: ClassVar[Mapping[str, float]]  # asked for in degrees: name in the settings -> default

    def to_settings(self) -> SettingsT:
        """The settings that the form holds.

        Raises:
            SettingsError: a value is out of its bounds; names it.
        """
        return self.settings_class.model_validate(_values(self, self.settings_class))


class SettingsResource(ConfigurableResource[Any], Generic[SettingsT]):
    """Resource with the fields of a settings class."""

    settings_class: ClassVar[type[Any]]
    angles_rad: ClassVar[Mapping[str, float]]  # asked for in degrees: name in the settings -> default

    def to_settings(self) -> SettingsT:
        """The settings that the form holds.

        Raises:
            SettingsError: a value is out of its bounds; names it.
        """
        return self.settings_class.model_validate(_values(self, self.settings_class))


def config_class(
    kind: type[SettingsT],
    defaults: SettingsT | None = None,
    left_out: tuple[str, ...] = (),
    *,
    degrees: bool = False,
) -> type[SettingsConfig[SettingsT]]:
    """A `SettingsConfig` with the fields of `kind`; fields `left_out` keep their defaults.

    Args:
        kind: the settings class.
        defaults: what the form holds at first; None: the deployment's, of a class with a section.
        left_out: fields without a line.
        degrees: ask for angles in degrees.
    """
    return _form(
        kind, SettingsConfig, _deployed(kind) if defaults is None else defaults, left_out, degrees=degrees
    )


def resource_class(
    kind: type[SettingsT], left_out: tuple[str, ...] = (), *, degrees: bool = False
) -> type[SettingsResource[SettingsT]]:
    """A `SettingsResource` with the fields of `kind`; fields `left_out` keep their defaults.

    With `degrees` angles are asked for in degrees.
    """
    return _form(kind, SettingsResource, _deployed(kind), left_out, degrees=degrees)


def in_degrees(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values of settings as a form made with `degrees` takes them."""
    form: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            form[name] = in_degrees(value)
        elif name.endswith(RADIANS):
            form[_degrees_name(name)] = _degrees(value)
        else:
            form[name] = value
    return form


def in_groups(kind: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of settings of `kind` as its form takes them: those of a group under the group's name."""
    form: dict[str, Any] = {}
    for name, value in values.items():
        group = form_group(kind.model_fields[name])
        (form.setdefault(group, {}) if group else form)[name] = value
    return form


def _degrees_name(name: str) -> str:
    return name.removesuffix(RADIANS) + DEGREES


def _degrees(angle_rad: float) -> float:
    return round(math.degrees(angle_rad), DEGREE_DIGITS)


def _deployed(kind: type[Settings]) -> Settings | None:
    return deployed(kind) if kind in SECTIONS else None


def _form(
    kind: type[Settings],
    base: type[Any],
    defaults: Settings | None,
    left_out: tuple[str, ...] = (),
    *,
    degrees: bool = False,
) -> Any:
    fields: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    angles: dict[str, float] = {}
    for name, info in kind.model_fields.items():
        if name in left_out:
            continue
        default = _default(info) if defaults is None else getattr(defaults, name)
        group = form_group(info)
        target = groups.setdefault(group, {}) if group else fields
        if degrees and name.endswith(RADIANS):
            angles[name] = default
            field = Field(default=_degrees(default), description=_degrees_description(info))
            target[_degrees_name(name)] = (float, field)
        else:
            form_type = _form_type(name, info, default, degrees=degrees)
            field = Field(default=_form_default(form_type, default), description=_description(info))
            target[name] = (form_type, field)
    for group, members in groups.items():
        inner = create_model(f"{kind.__name__}_{group}", __base__=Config, **members)
        fields[group] = (inner, Field(default=inner(), description=f"Rarely changed: {', '.join(members)}"))
    form = create_model(f"{kind.__name__}Form", __base__=base, __doc__=kind.__doc__, **fields)
    form.settings_class = kind
    form.angles_rad = angles
    return form


def _form_type(name: str, info: FieldInfo, default: Any, *, degrees: bool) -> Any:
    hint, inner = info.annotation, without_none(info.annotation)
    if nested := nested_class(info):
        return _form(nested, SettingsConfig, default, degrees=degrees)
    if inner is Path:
        return str  # empty for none: the launchpad leaves out a None
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]]
    if values := choices(info):
        enumeration = _enumeration(name, values)
        return enumeration if inner is hint else enumeration | None
    if inner in (int, float, bool, str):
        return hint
    raise TypeError(f"{name}: Dagster has no form for {hint}")


@cache  # Dagster refuses two enumerations of one name
def _enumeration(name: str, values: tuple[str, ...]) -> Any:
    # Dagster's error of a wrong choice is "… not in enum type NAME got VALUE".
    return Enum(f"{name} ({', '.join(values)})", {value: value for value in values})


def _default(info: FieldInfo) -> Any:
    return ... if info.is_required() else info.get_default(call_default_factory=True)


def _form_default(form_type: Any, value: Any) -> Any:
    if value is ...:
        return "" if form_type is str else ...  # an empty line to fill in; `to_settings` refuses it
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


def _degrees_description(info: FieldInfo) -> str:
    """The description of an angle, with its bounds in degrees."""
    bounds = {
        name: math.degrees(getattr(bound, name))
        for bound in info.metadata
        for name in ("ge", "le")
        if getattr(bound, name, None) is not None
    }
    text = f"{bounds.get('ge', 0.0):.4g} to {bounds['le']:.4g} degrees" if "le" in bounds else "degrees"
    return f"{info.description} ({text})"


def _values(form: Any, kind: type[Settings]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, default in form.angles_rad.items():
        shown = getattr(_holder(form, kind, name), _degrees_name(name))
        # An angle that was left as it was is the same to the last bit, so that nothing is stale.
        values[name] = default if shown == _degrees(default) else math.radians(shown)
    for name, info in kind.model_fields.items():
        holder = _holder(form, kind, name)
        if name not in type(holder).model_fields:
            continue
        value = getattr(holder, name)
        if isinstance(value, SettingsConfig):
            values[name] = _values(value, value.settings_class)
        elif without_none(info.annotation) is Path:
            if value:  # an empty line stands for the default
                values[name] = Path(value).expanduser()
        else:
            values[name] = value.value if isinstance(value, Enum) else value
    return values


def _holder(form: Any, kind: type[Settings], name: str) -> Any:
    """The part of a form with a field: its group, or the form itself."""
    return getattr(form, form_group(kind.model_fields[name]), form)
