"""The history of accepted runs."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from upath import UPath

import evaluation.comparison.baseline_runs as module
from evaluation.comparison.baseline_runs import (
    ACCEPTED_FOLDER,
    accept_run,
    accepted_history,
    last_accepted,
    read_accepted,
)
from evaluation.records import COPY_PORTRAIT, MODEL
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root
from storage.transfer import write_bytes
from tests.factories.acceptance import publish_report
from tests.factories.report import figures, small_plan
from tests.storage.conftest import bucket, object_store

__all__ = ["bucket", "object_store"]
FIRST = figures("yaw_error", {MODEL: [1.0, 2.0], COPY_PORTRAIT: [3.0, None]}, unit="degrees")
SECOND = figures("yaw_error", {MODEL: [1.5, 2.5]}, unit="degrees")


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    made = UPath(tmp_path / "root")
    publish_report(made, "default", FIRST)
    return made


def test_before_the_first_acceptance_there_is_none(root: UPath) -> None:
    assert last_accepted(root) is None
    assert accepted_history(root) == []


def test_the_last_acceptance_counts_and_the_earlier_ones_stay(root: UPath) -> None:
    published = publish_report(root, "other", SECOND)
    first = accept_run(root, "default", " the first ")
    second = accept_run(root, "other", "better lips", worse=["yaw_error (self, mesh)"])
    assert accepted_history(root) == [first, second]
    assert last_accepted(root) == second
    assert (first.note, first.worse) == ("the first", ())
    assert second.worse == ("yaw_error (self, mesh)",)
    assert second.report == f"assets/evaluation_report/other/{published.directory.name}"
    assert second.report_content == published.manifest.content_digest
    assert (second.weights, second.dataset) == (f"{'other':a<64}", "d" * 64)


def test_an_accepted_run_is_read_as_it_was_although_its_name_was_evaluated_anew(root: UPath) -> None:
    accept_run(root, "default", "first")
    publish_report(root, "default", SECOND)
    shutil.rmtree(Path(root.path) / "assets")
    last = last_accepted(root)
    assert last is not None
    read = read_accepted(root, last)
    assert list(read.figures) == FIRST
    assert asdict(read.plan) == asdict(small_plan())
    assert read.run == "default"


def test_an_acceptance_can_be_written_to_a_bucket_and_read_back(bucket: str) -> None:
    root = open_root(f"{bucket}/people")
    assert accepted_history(root) == []
    publish_report(root, "default", FIRST)
    accepted = accept_run(root, "default", "first")
    again = open_root(f"{bucket}/people")
    assert accepted_history(again) == [accepted]
    assert list(read_accepted(again, accepted).figures) == FIRST


@pytest.mark.parametrize("written", [0, 1, 2])
def test_an_acceptance_that_was_cut_short_is_not_there(
    root: UPath, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def failing(path: UPath, data: bytes) -> None:
        nonlocal calls
        if calls == written:
            raise OSError("no space left")
        calls += 1
        write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_bytes", failing)
        with pytest.raises(OSError, match="no space left"):
            accept_run(root, "default", "first")
    assert last_accepted(root) is None
    accepted = accept_run(root, "default", "first")
    assert accepted_history(root) == [accepted]


def test_a_clock_that_is_behind_does_not_hide_the_new_acceptance(root: UPath) -> None:
    first = accept_run(root, "default", "by a clock that is ahead")
    folder = Path(root.path) / first.folder
    record = json.loads((folder / "acceptance.json").read_text())
    record["accepted_at"] = "2999-01-01T00:00:00.000000+00:00"
    (folder / "acceptance.json").write_text(json.dumps(record))
    folder.rename(folder.with_name("29990101T000000.000000Z-default"))
    second = accept_run(root, "default", "by a clock that is right")
    assert second.accepted_at == "2999-01-01T00:00:00.000001+00:00"
    assert last_accepted(root) == second


def test_who_cannot_be_accepted_is_told_in_one_line(root: UPath) -> None:
    with pytest.raises(ValueError, match="needs a note"):
        accept_run(root, "default", "  ")
    with pytest.raises(
        ValueError, match=r"run 'nobody' has no evaluation_report .* pdfgc evaluate --run nobody"
    ):
        accept_run(root, "nobody", "why")
    assert accepted_history(root) == []


def test_a_report_of_earlier_evaluations_is_not_accepted(root: UPath) -> None:
    report = publish_report(root, "default", FIRST)
    publish_report(root, "default", SECOND)
    pointer = Path(report.directory.path).parent / "current.json"
    pointer.write_text(json.dumps({"directory": report.directory.name}))
    with pytest.raises(ValueError, match="report of run 'default' is older than control_evaluation"):
        accept_run(root, "default", "why")


def test_a_run_that_was_trained_anew_since_is_not_accepted(root: UPath) -> None:
    def build(folder: Path) -> BuildReport:
        (folder / "weights.safetensors").write_bytes(b"new")
        return BuildReport(counts={}, refusals={})

    materialise(root, Recipe("stage3_expression", "default", "1", {}, {}), build)
    with pytest.raises(
        ValueError, match=r"is of weights defaultaaaaaaaaa, trained are now [0-9a-f]{16}: pdfgc"
    ):
        accept_run(root, "default", "why")


@pytest.mark.parametrize(
    ("text", "told"),
    [("{}", "version None, this pdfgc reads version 1"), ("[]", "version None"), ("{", "Expecting")],
)
def test_a_damaged_record_is_named(root: UPath, text: str, told: str) -> None:
    folder = Path(root.path) / ACCEPTED_FOLDER / "20260101T000000.000000Z-x"
    folder.mkdir(parents=True)
    (folder / "acceptance.json").write_text(text)
    with pytest.raises(ValueError, match=f"Z-x/acceptance.json cannot be read as an acceptance: {told}"):
        last_accepted(root)
