"""The history of accepted runs: what later runs are held against. Append-only, under the root.

    accepted/<time>-<run>/report.parquet     the report's figures
                          reenactment_plan.json      its list of videos: evaluate a later run with this file
                          acceptance.json    who was accepted, and why; written last

A folder without `acceptance.json` is not there. Figures are copied, so that an accepted run stays comparable
when its name is trained anew or its files are collected. The last one, by the name that its time gives it,
counts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError
from upath import UPath

from evaluation.comparison.evaluated_run import EvaluatedRun, read_evaluated
from evaluation.generation.files import PLAN_NAME
from evaluation.generation.reenactment import ReenactmentPlan
from evaluation.records import MetricRecord
from evaluation.report.sources import DIGEST_DIGITS
from evaluation.report.summary import REPORT_TABLE
from storage.publishing import current
from storage.transfer import read_bytes, write_bytes
from training.engine.weights_digest import weights_digest
from training.stage_catalog import RENDERING_STAGE

ACCEPTED_FOLDER: Final = "accepted"
ACCEPTANCE_NAME: Final = "acceptance.json"
ACCEPTANCE_VERSION: Final = 1
TIME_FORMAT: Final = "%Y%m%dT%H%M%S.%fZ"  # sorts as the times do


@dataclass(frozen=True)
class Acceptance:
    """One line of the history.

    Attributes:
        run, report, report_content, weights, dataset: As of `EvaluatedRun`.
        note: Why it was accepted.
        accepted_at: UTC, ISO 8601.
        worse: In which figures it was worse than the one before, and was accepted all the same.
    """

    run: str
    note: str
    accepted_at: str
    report: str
    report_content: str
    weights: str
    dataset: str
    worse: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its folder below the root."""
        time = datetime.fromisoformat(self.accepted_at)
        return f"{ACCEPTED_FOLDER}/{time.strftime(TIME_FORMAT)}-{self.run}"


def accept_run(root: UPath, run: str, note: str, *, worse: Sequence[str] = ()) -> Acceptance:
    """Make a run's current report the one that later runs are held against.

    Args:
        root: where the run is published.
        run: name of the training run.
        note: why; for who reads the history.
        worse: figures in which it is known to be worse than the accepted one before.

    Raises:
        ValueError: no note, no report of the run, or the run was trained anew since it was evaluated.
    """
    if not note.strip():
        raise ValueError("an acceptance needs a note: say why this run is accepted")
    evaluated = read_evaluated(root, run)
    _refuse_other_weights(root, evaluated)
    last = last_accepted(root)
    now = datetime.now(UTC)
    if last is not None:  # clocks differ from machine to machine, and the history has one order
        now = max(now, datetime.fromisoformat(last.accepted_at) + timedelta(microseconds=1))
    acceptance = Acceptance(
        run=run,
        note=note.strip(),
        accepted_at=now.isoformat(timespec="microseconds"),
        report=evaluated.report,
        report_content=evaluated.report_content,
        weights=evaluated.weights,
        dataset=evaluated.dataset,
        worse=tuple(worse),
    )
    folder = root / acceptance.folder
    write_bytes(folder / REPORT_TABLE, read_bytes(root / evaluated.report / REPORT_TABLE))
    write_bytes(folder / PLAN_NAME, (json.dumps(asdict(evaluated.plan), indent=1) + "\n").encode())
    record = {"acceptance_version": ACCEPTANCE_VERSION, **asdict(acceptance)}
    write_bytes(folder / ACCEPTANCE_NAME, (json.dumps(record, indent=1) + "\n").encode())
    return acceptance


def last_accepted(root: UPath) -> Acceptance | None:
    """The run that counts; None where none was ever accepted.

    Raises:
        ValueError: as `accepted_history`.
    """
    return next(iter(accepted_history(root)[::-1]), None)


def accepted_history(root: UPath) -> list[Acceptance]:
    """Every acceptance, oldest first.

    Raises:
        ValueError: a record is damaged, or of a version that this code does not know.
    """
    try:
        names = sorted(path.name for path in (root / ACCEPTED_FOLDER).iterdir())
    except (FileNotFoundError, NotADirectoryError):  # the second is what UPath says of an empty prefix
        return []
    found = [_read_record(root / ACCEPTED_FOLDER / name / ACCEPTANCE_NAME) for name in names]
    return [acceptance for acceptance in found if acceptance is not None]


def read_accepted(root: UPath, acceptance: Acceptance) -> EvaluatedRun:
    """An accepted run as it was evaluated then."""
    folder = root / acceptance.folder
    table = pq.read_table(pa.BufferReader(read_bytes(folder / REPORT_TABLE)))
    plan = TypeAdapter(ReenactmentPlan).validate_json(read_bytes(folder / PLAN_NAME))
    return EvaluatedRun(
        run=acceptance.run,
        report=acceptance.report,
        report_content=acceptance.report_content,
        weights=acceptance.weights,
        dataset=acceptance.dataset,
        plan=plan,
        figures=tuple(MetricRecord(**record) for record in table.to_pylist()),
    )


def _read_record(path: UPath) -> Acceptance | None:
    try:
        data: Any = json.loads(read_bytes(path))
        version = data.pop("acceptance_version", None) if isinstance(data, dict) else None
        if version != ACCEPTANCE_VERSION:
            raise ValueError(f"version {version!r}, this pdfgc reads version {ACCEPTANCE_VERSION}")
        return TypeAdapter(Acceptance).validate_python(data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValidationError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an acceptance: {str(error).splitlines()[0]}") from error


def _refuse_other_weights(root: UPath, evaluated: EvaluatedRun) -> None:
    published = current(root, RENDERING_STAGE, evaluated.run)
    trained = evaluated.weights if published is None else weights_digest(published)
    if trained != evaluated.weights:
        raise ValueError(
            f"the report of run {evaluated.run!r} is of weights {evaluated.weights[:DIGEST_DIGITS]}, trained "
            f"are now {trained[:DIGEST_DIGITS]}: pdfgc evaluate --run {evaluated.run} measures them"
        )
