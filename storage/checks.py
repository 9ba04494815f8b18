"""The outcome of a check of published files; what Dagster shows of it is made in `pipelines`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CheckOutcome:
    """Whether a check passed.

    A check's name, and whether a failure blocks the assets downstream, belong to its definition.
    """

    passed: bool
    description: str  # one sentence with the values that decided
    values: Mapping[str, int | float] = field(default_factory=dict)
