"""Asset checks: one definition type, its outcomes as Dagster shows them.

They run in the step of their asset, because Dagster's separate checks support partitions as a preview only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dagster import AssetCheckResult, AssetCheckSeverity, AssetCheckSpec, MetadataValue

from storage.checks import CheckOutcome

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class CheckDefinition(Generic[Subject]):
    """A check of what an asset has published."""

    name: str
    description: str
    blocking: bool  # whether a failure blocks the assets downstream; otherwise it is a warning
    check: Callable[[Subject], CheckOutcome]


def check_specs(asset: str, checks: Sequence[CheckDefinition[Any]]) -> list[AssetCheckSpec]:
    """The specs of an asset's checks, for its definition."""
    return [
        AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.blocking)
        for check in checks
    ]


def run_checks(checks: Sequence[CheckDefinition[Subject]], subject: Subject) -> list[AssetCheckResult]:
    """The results of all checks of a subject."""
    return [check_result(check.check(subject), name=check.name, blocking=check.blocking) for check in checks]


def check_result(
    outcome: CheckOutcome, *, name: str, blocking: bool, table: MetadataValue | None = None
) -> AssetCheckResult:
    """An outcome as Dagster shows it, perhaps with a table."""
    metadata: dict[str, Any] = dict(outcome.values)
    if table is not None:
        metadata["table"] = table
    return AssetCheckResult(
        passed=outcome.passed,
        check_name=name,
        severity=AssetCheckSeverity.ERROR if blocking else AssetCheckSeverity.WARN,
        description=outcome.description,
        metadata=metadata,
    )
