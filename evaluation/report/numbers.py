"""Figures as text: as many digits as the interval bears, and no more."""

import math
from typing import Final

from evaluation.comparison.differences import PairedDifference
from evaluation.records import Direction, Summary

DIGITS_WITHOUT_INTERVAL: Final = 3
DIGITS_OF_INTERVAL: Final = 2
MOST_DECIMALS: Final = 4
MINUS: Final = "\N{MINUS SIGN}"
NOTHING: Final = "\N{EN DASH}"
ARROWS: Final = {"higher": "\N{UPWARDS ARROW}", "lower": "\N{DOWNWARDS ARROW}", "neither": ""}


def decimals(scale: float, digits: int) -> int:
    """Decimals that show so many digits of a number as large as `scale`; 0 to 4."""
    if scale == 0 or not math.isfinite(scale):
        return digits - 1
    return min(MOST_DECIMALS, max(0, digits - 1 - math.floor(math.log10(abs(scale)))))


def number(value: float, places: int, *, signed: bool = False) -> str:
    """A number with a true minus sign; what rounds to zero has none."""
    rounded = round(value, places) + 0.0  # -0.0 + 0.0 is 0.0
    text = f"{rounded:+.{places}f}" if signed else f"{rounded:.{places}f}"
    return text.replace("-", MINUS)


def interval_text(
    mean: float, low: float | None, high: float | None, unit: str, *, signed: bool = False
) -> str:
    """`mean ± half unit`, or the mean alone where there is no interval."""
    tail = f" {unit}" if unit else ""
    if low is None or high is None:
        return number(mean, decimals(mean, DIGITS_WITHOUT_INTERVAL), signed=signed) + tail
    half = (high - low) / 2
    # An interval of no width bears any number of digits: show the mean's usual ones.
    places = decimals(half, DIGITS_OF_INTERVAL) if half else decimals(mean, DIGITS_WITHOUT_INTERVAL)
    return f"{number(mean, places, signed=signed)} ± {number(half, places)}{tail}"


def summary_text(summary: Summary, *, with_unit: bool = False) -> str:
    """A summary's mean with its interval; a dash where nothing was measured."""
    if summary.mean is None:
        return NOTHING
    return interval_text(summary.mean, summary.low, summary.high, summary.unit if with_unit else "")


def difference_text(difference: PairedDifference, unit: str) -> str:
    """A signed difference with its interval."""
    return interval_text(difference.mean, difference.low, difference.high, unit, signed=True)


def metric_label(metric: str, direction: Direction, unit: str) -> str:
    """A metric's name with an arrow for its direction, and its unit."""
    return " ".join(filter(None, (metric, ARROWS[direction], f"({unit})" if unit else "")))
