"""A field of a settings dataclass that tells what it is for and how far it may go.

Forms, command lines and the check of a deployment's environment are all made from this: a default, its
description and its bounds stand once, beside what they configure.
"""

from dataclasses import field
from typing import Any


def setting(
    default: object,
    description: str,
    *,
    minimum: int | float | None = None,
    maximum: int | float | None = None,
) -> Any:  # as `dataclasses.field`: the annotation beside it tells the type
    """A dataclass field with a default and what a person should know of it.

    Args:
        default: of the field; immutable.
        description: one line without a full stop; units where the name tells none.
        minimum: smallest value that is taken; None for no bound.
        maximum: largest value that is taken; None for no bound.
    """
    bounds = {"minimum": minimum, "maximum": maximum}
    told = {name: bound for name, bound in bounds.items() if bound is not None}
    return field(default=default, metadata={"description": description, **told})
