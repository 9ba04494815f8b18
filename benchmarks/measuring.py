"""Shared by the benchmarks: CPU time of this process and its children, tables, JSON files."""

import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Cost:
    """Time that a function took."""

    cpu_seconds: float
    wall_seconds: float


def cost_of(work: Callable[[], Any]) -> Cost:
    """CPU (user + system, of this process and its finished children) and wall time of `work`."""
    cpu, wall = cpu_seconds(), time.monotonic()
    work()
    return Cost(cpu_seconds() - cpu, time.monotonic() - wall)


def cpu_seconds() -> float:
    """CPU seconds that this process and its finished children have used."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None = None) -> None:
    """Print one table, as wide as the terminal or of `width` characters."""
    table = Table(title=title)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    Console(width=width).print(table)


def write_json(path: Path | None, value: Mapping[str, Any]) -> None:
    """Write the results, if a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
        Console().print(f"results written to {path}")
