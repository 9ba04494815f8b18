"""When Dagster makes an asset by itself, because what it reads was made anew."""

from typing import Any, Final

from dagster import AssetSelection, AutomationCondition

MINIMUM_INTERVAL_SECONDS: Final = 30  # between two looks at all conditions


def after_any_of(*upstream: str) -> AutomationCondition[Any]:
    """True once one of these assets was made anew, nothing that is read is being made, and all is there."""
    return (
        AutomationCondition.any_deps_updated().allow(AssetSelection.assets(*upstream)).since_last_handled()
        & ~AutomationCondition.any_deps_missing()
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    ).with_label(f"after {' or '.join(upstream)}")


def after_batches(last_step: str) -> AutomationCondition[Any]:
    """True once some batch was made anew and none is being made.

    Batches that failed or were never made hold nothing up: they join when they are there.
    """
    return (
        AutomationCondition.any_deps_updated().since_last_handled()
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    ).with_label(f"after batches of {last_step}")
