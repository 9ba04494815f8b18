"""The history of baseline runs."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from upath import UPath

import evaluation.comparison.baseline_runs as module
from evaluation.comparison.baseline_runs import (
    BASELINES_FOLDER,
    current_baseline_run,
    list_baseline_runs,
    read_baseline_run,
    set_baseline_run,
)
from evaluation.records import COPY_PORTRAIT, MODEL
from storage.objects import write_bytes
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root
from tests.factories.evaluation.published_reports import publish_report
from tests.factories.evaluation.report import metric_records, small_plan
from tests.storage.conftest import bucket, object_store

__all__ = ["bucket", "object_store"]
FIRST = metric_records("yaw_error", {MODEL: [1.0, 2.0], COPY_PORTRAIT: [3.0, None]}, unit="degrees")
SECOND = metric_records("yaw_error", {MODEL: [1.5, 2.5]}, unit="degrees")


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    root = UPath(tmp_path / "root")
    publish_report(root, "default", FIRST)
    return root


def test_history_is_empty_at_first(root: UPath) -> None:
    assert current_baseline_run(root) is None
    assert list_baseline_runs(root) == []


def test_last_entry_is_current_and_earlier_ones_stay(root: UPath) -> None:
    published = publish_report(root, "other", SECOND)
    first = set_baseline_run(root, "default", " the first ")
    second = set_baseline_run(root, "other", "better lips", regressions=["yaw_error (self, mesh)"])
    assert list_baseline_runs(root) == [first, second]
    assert current_baseline_run(root) == second
    assert (first.note, first.regressions) == ("the first", ())
    assert second.regressions == ("yaw_error (self, mesh)",)
    assert second.report == f"assets/evaluation_report/other/{published.directory.name}"
    assert second.report_content == published.manifest.content_digest
    assert (second.weights, second.dataset) == (f"{'other':a<64}", "d" * 64)


def test_baseline_run_is_readable_after_a_new_evaluation(root: UPath) -> None:
    set_baseline_run(root, "default", "first")
    publish_report(root, "default", SECOND)
    shutil.rmtree(Path(root.path) / "assets")
    last = current_baseline_run(root)
    assert last is not None
    read = read_baseline_run(root, last)
    assert list(read.records) == FIRST
    assert asdict(read.plan) == asdict(small_plan())
    assert read.run == "default"


def test_baseline_run_round_trips_through_a_bucket(bucket: str) -> None:
    root = open_root(f"{bucket}/people")
    assert list_baseline_runs(root) == []
    publish_report(root, "default", FIRST)
    baseline = set_baseline_run(root, "default", "first")
    again = open_root(f"{bucket}/people")
    assert list_baseline_runs(again) == [baseline]
    assert list(read_baseline_run(again, baseline).records) == FIRST


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_interrupted_entry_is_ignored(root: UPath, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def failing(path: UPath, data: bytes) -> None:
        nonlocal calls
        if calls == writes:
            raise OSError("no space left")
        calls += 1
        write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_bytes", failing)
        with pytest.raises(OSError, match="no space left"):
            set_baseline_run(root, "default", "first")
    assert current_baseline_run(root) is None
    baseline = set_baseline_run(root, "default", "first")
    assert list_baseline_runs(root) == [baseline]


def test_new_entry_is_last_even_if_the_clock_is_behind(root: UPath) -> None:
    first = set_baseline_run(root, "default", "clock ahead")
    folder = Path(root.path) / first.folder
    record = json.loads((folder / "baseline.json").read_text())
    record["set_at"] = "2999-01-01T00:00:00.000000+00:00"
    del record["sha256"]  # as an entry of an earlier version
    (folder / "baseline.json").write_text(json.dumps(record))
    folder.rename(folder.with_name("29990101T000000.000000Z-default"))
    second = set_baseline_run(root, "default", "correct clock")
    assert second.set_at == "2999-01-01T00:00:00.000001+00:00"
    assert current_baseline_run(root) == second


def test_set_baseline_run_needs_a_note_and_a_report(root: UPath) -> None:
    with pytest.raises(ValueError, match="note is empty"):
        set_baseline_run(root, "default", "  ")
    with pytest.raises(
        ValueError, match=r"run 'nobody' has no evaluation_report .* pdfgc evaluate --run nobody"
    ):
        set_baseline_run(root, "nobody", "why")
    assert list_baseline_runs(root) == []


def test_report_older_than_its_evaluations_is_refused(root: UPath) -> None:
    report = publish_report(root, "default", FIRST)
    publish_report(root, "default", SECOND)
    pointer = Path(report.directory.path).parent / "current.json"
    pointer.write_text(json.dumps({"directory": report.directory.name}))
    with pytest.raises(ValueError, match="report of run 'default' is older than control_evaluation"):
        set_baseline_run(root, "default", "why")


def test_run_trained_again_since_its_evaluation_is_refused(root: UPath) -> None:
    def build(folder: Path) -> BuildReport:
        (folder / "weights.safetensors").write_bytes(b"new")
        return BuildReport(counts={}, refusals={})

    materialise(root, Recipe("stage3_expression", "default", "1", {}, {}), build)
    with pytest.raises(
        ValueError, match=r"trained again .*weights defaultaaaaaaaaa, now [0-9a-f]{16}\): pdfgc"
    ):
        set_baseline_run(root, "default", "why")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "baseline_version must be 1, got None"),
        ("[]", "it is no JSON object"),
        ("{", "Expecting"),
    ],
)
def test_damaged_entry_is_named(root: UPath, text: str, message: str) -> None:
    folder = Path(root.path) / BASELINES_FOLDER / "20260101T000000.000000Z-x"
    folder.mkdir(parents=True)
    (folder / "baseline.json").write_text(text)
    with pytest.raises(ValueError, match=f"Z-x/baseline.json is not a valid baseline entry: {message}"):
        current_baseline_run(root)
