"""Numbers and metric names as text. A mean has as many digits as its interval supports."""

import math
from typing import Final

from evaluation.comparison.differences import PairedDifference
from evaluation.records import Direction, Summary

DIGITS_WITHOUT_INTERVAL: Final = 3
DIGITS_OF_INTERVAL: Final = 2
MAX_DECIMALS: Final = 4
MINUS: Final = "\N{MINUS SIGN}"
NO_VALUE: Final = "\N{EN DASH}"
ARROWS: Final = {"higher": "\N{UPWARDS ARROW}", "lower": "\N{DOWNWARDS ARROW}", "neither": ""}


def decimals(scale: float, digits: int) -> int:
    """Decimal places that show `digits` significant digits of a number as large as `scale`; 0 to 4."""
    if scale == 0 or not math.isfinite(scale):
        return digits - 1
    return min(MAX_DECIMALS, max(0, digits - 1 - math.floor(math.log10(abs(scale)))))


def number(value: float, places: int, *, signed: bool = False) -> str:
    """A number with a minus sign instead of a hyphen, and none if it rounds to zero."""
    rounded = round(value, places) + 0.0  # -0.0 + 0.0 is 0.0
    text = f"{rounded:+.{places}f}" if signed else f"{rounded:.{places}f}"
    return text.replace("-", MINUS)


def correlation_text(value: float | None) -> str:
    """A correlation or gain with two decimals and no zero before the point; a dash for None."""
    if value is None:
        return NO_VALUE
    return number(value, 2).replace("0.", ".", 1) if abs(value) < 0.995 else number(value, 2)


def interval_text(
    mean: float, low: float | None, high: float | None, unit: str, *, signed: bool = False
) -> str:
    """`mean ± half-width unit`, or the mean alone without an interval."""
    suffix = f" {unit}" if unit else ""
    if low is None or high is None:
        return number(mean, decimals(mean, DIGITS_WITHOUT_INTERVAL), signed=signed) + suffix
    half = (high - low) / 2
    # An interval of zero width supports any number of digits: use those of a mean without interval.
    places = decimals(half, DIGITS_OF_INTERVAL) if half else decimals(mean, DIGITS_WITHOUT_INTERVAL)
    return f"{number(mean, places, signed=signed)} ± {number(half, places)}{suffix}"


def summary_text(summary: Summary, *, with_unit: bool = False) -> str:
    """A mean with its interval; a dash if nothing was measured."""
    if summary.mean is None:
        return NO_VALUE
    return interval_text(summary.mean, summary.low, summary.high, summary.unit if with_unit else "")


def difference_text(difference: PairedDifference, unit: str) -> str:
    """A signed difference with its interval."""
    return interval_text(difference.mean, difference.low, difference.high, unit, signed=True)


def metric_label(metric: str, direction: Direction, unit: str) -> str:
    """A metric's name with an arrow for its direction, and its unit."""
    return " ".join(filter(None, (metric, ARROWS[direction], f"({unit})" if unit else "")))
