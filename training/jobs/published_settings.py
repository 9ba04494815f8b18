"""The settings that a published stage was trained with, as dataclasses: a preset may have changed since."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from storage.publishing import Published

Settings = TypeVar("Settings")


def read_settings(kind: type[Settings], published: Published, name: str) -> Settings:
    """A dataclass from the manifest's settings; fields that it has gained since take their defaults.

    Args:
        kind: the dataclass.
        published: the stage.
        name: "networks" or "stage", as `training.jobs.recipe.stage_settings` names them.

    Raises:
        ValueError: the settings are another version's.
    """
    try:
        return TypeAdapter(kind).validate_python(published.manifest.settings.get(name))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise ValueError(
            f"{published.manifest.asset} of run {published.manifest.partition!r}: its settings are another "
            f"version's, train it again ({where}: {first['msg']})"
        ) from error
