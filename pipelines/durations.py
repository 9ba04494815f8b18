"""Durations as text."""


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours; None has never been measured."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
