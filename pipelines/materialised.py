"""What an asset's function returns: a materialisation whose value lies in the root, not in Dagster."""

from typing import TYPE_CHECKING, TypeAlias

from dagster import MaterializeResult

# Dagster recognises the bare class alone as an annotation; type checkers want its parameter.
if TYPE_CHECKING:
    Materialised: TypeAlias = MaterializeResult[object]
else:
    Materialised = MaterializeResult
