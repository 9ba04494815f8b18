"""One row of the table of `make bench`, and the machine that it was measured on."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import show

PACKAGES: Final = ("torch", "numpy", "opencv-contrib-python-headless", "ai-edge-litert", "dagster", "av")

TABLE_WIDTH: Final = 130


@dataclass(frozen=True)
class Figure:
    """A measurement of ours beside a floor or a peer of the same run."""

    name: str
    ours: float
    unit: str
    other: str = ""  # name of the floor or peer; empty: none
    others: float | None = None  # its value, in the same unit
    ratios: tuple[float, ...] = ()  # ours over the other's, one a round
    aim: str = ""  # "<= .75", of the ratio if there is one, else of the value

    @property
    def ratio(self) -> float | None:
        """Median over the rounds."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        if not self.aim:
            return None
        relation, bound = self.aim.split()
        value = self.ours if self.ratio is None else self.ratio
        return value <= float(bound) if relation == "<=" else value >= float(bound)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        spread = [min(self.ratios), max(self.ratios)] if self.ratios else None
        return asdict(self) | {"ratio": self.ratio, "spread": spread, "is_met": self.is_met}


def show_figures(title: str, figures: Sequence[Figure]) -> None:
    """Print the table."""
    rows = [
        (
            figure.name,
            f"{figure.ours:.4g} {figure.unit}",
            figure.other,
            "" if figure.others is None else f"{figure.others:.4g}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            f"{min(figure.ratios):.2f}-{max(figure.ratios):.2f}" if len(figure.ratios) > 1 else "",
            figure.aim,
            {None: "", True: "yes", False: "no"}[figure.is_met],
        )
        for figure in figures
    ]
    show(title, ("", "ours", "beside", "its", "ratio", "spread", "aim", "met"), rows, TABLE_WIDTH)


def machine() -> dict[str, Any]:
    """What the results depend on, other than the code."""
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def processor_name() -> str:
    """Model of the CPU, as Linux names it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
