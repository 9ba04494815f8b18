"""The settings that a published stage was trained with, as objects: a preset may have changed since."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from storage.publishing import Published
from storage.settings import settings_error

T = TypeVar("T")


def read_settings(kind: type[T], published: Published, name: str) -> T:
    """An object from the manifest's settings; fields that it has gained since take their defaults.

    Args:
        kind: a settings class or a dataclass.
        published: the stage.
        name: "networks" or "stage", as `training.jobs.recipe.stage_settings` names them.

    Raises:
        ValueError: the settings are another version's.
    """
    try:
        return TypeAdapter(kind).validate_python(published.manifest.settings.get(name))
    except ValidationError as error:
        raise ValueError(
            f"{published.manifest.asset} of run {published.manifest.partition!r}: its settings are another "
            f"version's, train it again ({settings_error(error)})"
        ) from error
