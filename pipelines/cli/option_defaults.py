"""Defaults of command-line options: the deployment's settings, read only when a command runs."""

from collections.abc import Callable
from typing import Any

import click


def deployed_default(kind: type[Any], name: str) -> Callable[[], Any]:
    """Gives a field's deployed value when a command line asks for its option's default."""

    def default() -> Any:
        from pipelines.deployed_settings import deployed

        try:
            return getattr(deployed(kind), name)
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    return default
