"""One exception of every item is no item's fault: a missing package, a bug, a model that does not load."""

from collections.abc import Sequence
from typing import Final

FEWEST_ITEMS: Final = 8  # fewer may be the files of one stranger, which must not stop the others


def common_failure(failures: Sequence[str]) -> str:
    """The exception that ended every one of at least `FEWEST_ITEMS` items; "" where there is none.

    Args:
        failures: of every item its exception in one line, without the item's own name; "" if it did not fail.
    """
    is_common = len(failures) >= FEWEST_ITEMS and len(set(failures)) == 1
    return failures[0] if is_common else ""


def common_error(failure: str, count: int, what: str) -> RuntimeError:
    """The error to raise where `common_failure` found one."""
    return RuntimeError(
        f"all {count} {what} failed with the same error, so it is not recorded as theirs: {failure}; "
        "nothing was published, run it again after the fix"
    )
