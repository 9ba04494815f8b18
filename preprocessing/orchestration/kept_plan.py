"""The newest reprocessing plan as a file under the root, for whoever carries it out."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from upath import UPath

from preprocessing.orchestration.reprocessing import ReprocessingPlan
from storage.transfer import read_bytes, write_bytes

FOLDER: Final = "operations"
NAME: Final = "reprocessing_plan.json"
DRY_NAME: Final = "reprocessing_dry_run.json"  # of its own: a look must not end what is being carried out


@dataclass(frozen=True)
class PlannedBatch:
    """Work on one batch."""

    batch: str
    why: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class KeptPlan:
    """A plan that was kept. A newer one takes its place: what it had not begun is in the newer one too."""

    name: str  # of the run that made it
    batches: tuple[PlannedBatch, ...]


def keep_plan(root: UPath, name: str, plan: ReprocessingPlan, *, dry_run: bool) -> UPath:
    """Write a plan in the place of the one before of its kind; returns its file."""
    planned = tuple(PlannedBatch(batch.batch, batch.why, batch.steps) for batch in plan.stale)
    path = root / FOLDER / (DRY_NAME if dry_run else NAME)
    write_bytes(path, json.dumps(asdict(KeptPlan(name, planned)), indent=1).encode())
    return path


def read_plan(root: UPath) -> KeptPlan | None:
    """The newest plan that is to be carried out; None where none was ever made."""
    try:
        told: dict[str, Any] = json.loads(read_bytes(root / FOLDER / NAME))
    except FileNotFoundError:
        return None
    batches = tuple(PlannedBatch(row["batch"], row["why"], tuple(row["steps"])) for row in told["batches"])
    return KeptPlan(told["name"], batches)
