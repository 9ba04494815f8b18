"""Conditions under which Dagster materialises an asset because an upstream asset was updated."""

from typing import Any, Final

from dagster import AssetSelection, AutomationCondition

MINIMUM_INTERVAL_SECONDS: Final = 30  # between evaluations of all conditions


def after_any_of(*upstream: str) -> AutomationCondition[Any]:
    """True once one of these upstream assets was updated, all of them exist and no dependency is in progress.

    Evaluated for each partition. Other dependencies may be missing: a run that starts from the stages of
    another run has none of its own.
    """
    selection = AssetSelection.assets(*upstream)
    return (
        AutomationCondition.any_deps_updated().allow(selection).since_last_handled()
        & ~AutomationCondition.any_deps_missing().allow(selection)
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    ).with_label(f"after {' or '.join(upstream)}")


def after_batches(last_step: str) -> AutomationCondition[Any]:
    """True once any batch was updated and none is in progress.

    Failed or missing batches do not hold it back: they are included once they exist.
    """
    return (
        AutomationCondition.any_deps_updated().since_last_handled()
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    ).with_label(f"after batches of {last_step}")
