"""The history of baseline runs, which later runs are compared with. Append-only, under the root.

    baseline_runs/<time>-<run>/report.parquet          records of the run's report
                               reenactment_plan.json   its reenactments, for `pdfgc evaluate --plan-file`
                               baseline.json           the run, why it was set, the sha256 of the two files
                                                       and its own; written last

A folder without `baseline.json` is incomplete and ignored. The records are copied, so a baseline run stays
comparable after the run was trained again or its files were removed. The last folder by name is the current
baseline run.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError
from upath import UPath

from evaluation.comparison.evaluated_run import EvaluatedRun, read_evaluated_run
from evaluation.generation.files import PLAN_NAME
from evaluation.generation.reenactment import ReenactmentPlan
from evaluation.records import MetricRecord
from evaluation.report.summary import REPORT_TABLE
from storage.fingerprint import DIGEST_DIGITS
from storage.integrity.faults import Fault
from storage.integrity.reading import Expectation
from storage.integrity.sealed_json import read_sealed, sealed
from storage.objects import entries, files, read_bytes, read_sha256, write_bytes
from storage.publishing import current
from training.engine.weights_digest import weights_digest
from training.stage_catalog import RENDERING_STAGE

BASELINES_FOLDER: Final = "baseline_runs"
BASELINE_NAME: Final = "baseline.json"
BASELINE_VERSION: Final = 1
FILES: Final = "files"  # of `baseline.json`: name -> sha256
MEND: Final = "restore it, or set the baseline again: pdfgc baseline set"
TIME_FORMAT: Final = "%Y%m%dT%H%M%S.%fZ"  # sorts chronologically


@dataclass(frozen=True)
class BaselineRun:
    """An entry of the history.

    Attributes:
        run, report, report_content, weights, weights_location, dataset: See `EvaluatedRun`.
        note: Why the run was set as baseline.
        set_at: UTC, ISO 8601.
        regressions: Metrics in which it was worse than the previous baseline run.
    """

    run: str
    note: str
    set_at: str
    report: str
    report_content: str
    weights: str
    weights_location: str
    dataset: str
    regressions: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its folder, relative to the root."""
        time = datetime.fromisoformat(self.set_at)
        return f"{BASELINES_FOLDER}/{time.strftime(TIME_FORMAT)}-{self.run}"


ENTRY_FIELDS: Final = ("baseline_version", FILES, *(field.name for field in fields(BaselineRun)))


def set_baseline_run(root: UPath, run: str, note: str, *, regressions: Sequence[str] = ()) -> BaselineRun:
    """Set a run's current report as the baseline of later runs.

    Args:
        root: with the published run.
        run: name of the training run.
        note: why; shown in the history.
        regressions: metrics in which it is known to be worse than the current baseline run.

    Raises:
        ValueError: the note is empty, the run has no report, or it was trained again since its evaluation.
    """
    if not note.strip():
        raise ValueError("note is empty: say why this run is set as the baseline")
    evaluated = read_evaluated_run(root, run)
    _check_weights_unchanged(root, evaluated)
    previous = current_baseline_run(root)
    now = datetime.now(UTC)
    if previous is not None:  # keeps the order when the clocks of two machines differ
        now = max(now, datetime.fromisoformat(previous.set_at) + timedelta(microseconds=1))
    baseline = BaselineRun(
        run=run,
        note=note.strip(),
        set_at=now.isoformat(timespec="microseconds"),
        report=evaluated.report,
        report_content=evaluated.report_content,
        weights=evaluated.weights,
        weights_location=evaluated.weights_location,
        dataset=evaluated.dataset,
        regressions=tuple(regressions),
    )
    folder = root / baseline.folder
    contents = {
        REPORT_TABLE: read_bytes(root / evaluated.report / REPORT_TABLE),
        PLAN_NAME: (json.dumps(asdict(evaluated.plan), indent=1) + "\n").encode(),
    }
    for name, content in contents.items():
        write_bytes(folder / name, content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    entry = sealed({"baseline_version": BASELINE_VERSION, **asdict(baseline), FILES: digests})
    write_bytes(folder / BASELINE_NAME, _entry_text(entry).encode())
    return baseline


def current_baseline_run(root: UPath) -> BaselineRun | None:
    """The baseline run that was set last; None if none was set.

    Raises:
        ValueError: see `list_baseline_runs`.
    """
    return next(reversed(list_baseline_runs(root)), None)


def list_baseline_runs(root: UPath) -> list[BaselineRun]:
    """The whole history, oldest first.

    Raises:
        ValueError: an entry is damaged or has an unknown version.
    """
    folders = [folder.name for folder in entries(root, BASELINES_FOLDER)]
    runs = [_read_entry(root / BASELINES_FOLDER / name / BASELINE_NAME) for name in folders]
    return [run for run in runs if run is not None]


def builds_of_baselines(root: UPath, count: int) -> dict[str, str]:
    """Location of the report and of the weights of the last baseline runs -> why `storage.gc` keeps them.

    Raises:
        ValueError: `count` is less than 1, or see `list_baseline_runs`.
    """
    if count < 1:
        raise ValueError(f"keep_baselines must be >= 1, got {count}")
    locations: dict[str, str] = {}
    for baseline in list_baseline_runs(root)[-count:]:
        reason = f"baseline run {baseline.run!r} of {baseline.set_at[:10]}"
        locations |= {baseline.report: reason, baseline.weights_location: reason}
    return locations


def read_baseline_run(root: UPath, baseline: BaselineRun) -> EvaluatedRun:
    """The baseline run as it was evaluated when it was set."""
    folder = root / baseline.folder
    table = pq.read_table(pa.BufferReader(read_bytes(folder / REPORT_TABLE)))
    return EvaluatedRun(
        run=baseline.run,
        report=baseline.report,
        report_content=baseline.report_content,
        weights=baseline.weights,
        weights_location=baseline.weights_location,
        dataset=baseline.dataset,
        plan=TypeAdapter(ReenactmentPlan).validate_json(read_bytes(folder / PLAN_NAME)),
        records=tuple(MetricRecord(**entry) for entry in table.to_pylist()),
    )


def _read_entry(path: UPath) -> BaselineRun | None:
    try:
        data: Any = read_sealed(read_bytes(path).decode(), ENTRY_FIELDS)
        data.pop(FILES, None)
        version = data.pop("baseline_version", None)
        if version != BASELINE_VERSION:
            raise ValueError(f"baseline_version must be {BASELINE_VERSION}, got {version!r}")
        return TypeAdapter(BaselineRun).validate_python(data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValidationError, ValueError) as error:
        raise ValueError(f"{path} is not a valid baseline entry: {str(error).splitlines()[0]}") from error


def check_baseline_runs(root: UPath) -> tuple[list[Fault], list[Expectation]]:
    """Damaged entries of the history, and what their other files must hold."""
    faults: list[Fault] = []
    expected: list[Expectation] = []
    for folder in entries(root, BASELINES_FOLDER):
        location = f"{BASELINES_FOLDER}/{folder.name}"
        try:
            if _read_entry(root / location / BASELINE_NAME) is None:
                continue  # incomplete
            text = read_bytes(root / location / BASELINE_NAME).decode()
            digests = json.loads(text).get(FILES, {})
        except ValueError as error:
            faults.append(Fault("record", f"{location}/{BASELINE_NAME}", "an entry", str(error), MEND))
            continue
        if digests and _entry_text(json.loads(text)) != text:
            path = f"{location}/{BASELINE_NAME}"
            faults.append(Fault("record", path, "the text that was written", "other spaces", MEND))
        sizes = {file.location: file.size_bytes for file in files(root / location, "")}
        expected += [
            _expect(root, f"{location}/{name}", sha256, sizes.get(name, 0))
            for name, sha256 in digests.items()
        ]
    return faults, expected


def _expect(root: UPath, path: str, sha256: str, size_bytes: int) -> Expectation:
    return Expectation(path, sha256, size_bytes, "record", lambda: read_sha256(root / path), mend=MEND)


def _entry_text(entry: dict[str, Any]) -> str:
    return json.dumps(entry, indent=1) + "\n"


def _check_weights_unchanged(root: UPath, evaluated: EvaluatedRun) -> None:
    published = current(root, RENDERING_STAGE, evaluated.run)
    trained = evaluated.weights if published is None else weights_digest(published)
    if trained != evaluated.weights:
        raise ValueError(
            f"run {evaluated.run!r} was trained again since its evaluation (weights "
            f"{evaluated.weights[:DIGEST_DIGITS]}, now {trained[:DIGEST_DIGITS]}): "
            f"pdfgc evaluate --run {evaluated.run}"
        )
