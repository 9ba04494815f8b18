"""A batch that fails, beside others that do not: `pdfgc preprocess` goes on and says so at its end."""

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.cli.data.preprocess import PreprocessRequest, retry_lines, run_preprocessing
from pipelines.operations.runs import local_runs
from pipelines.operations.runs.local_runs import JobFailedError
from preprocessing.sources import stored_catalog
from storage import publishing


def preprocess(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: set[str], *, have_shards: bool
) -> tuple[list[str], str]:
    """Run the command with jobs that do nothing; the jobs that were run, and the error."""
    jobs: list[str] = []

    def run_job(name: str, *_: object, partition_key: str = "") -> None:
        jobs.append(partition_key or name)
        if partition_key in failing:
            raise JobFailedError(f"run 1 of {name} failed. clips: ValueError: {partition_key} is bad")

    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setattr(local_runs, "run_job", run_job)
    monkeypatch.setattr(stored_catalog, "batch_keys", lambda _: ["b0", "b1", "b2"])
    monkeypatch.setattr(publishing, "current", lambda *_: have_shards or None)
    request = PreprocessRequest((), with_summary=False)
    with pytest.raises(JobFailedError) as caught:
        run_preprocessing(request, Console(file=io.StringIO(), width=200))
    return jobs, str(caught.value)


def test_failing_batch_keeps_nothing_from_being_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs, error = preprocess(monkeypatch, tmp_path, {"b0"}, have_shards=True)
    assert jobs == ["scan_sources", "b0", "b1", "b2", "index_dataset"]
    assert error == (
        "1 of 3 batches failed. batch b0: run 1 of preprocess failed. clips: ValueError: b0 is bad"
    )


def test_no_data_set_without_any_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs, error = preprocess(monkeypatch, tmp_path, {"b0", "b1", "b2"}, have_shards=False)
    assert jobs == ["scan_sources", "b0", "b1", "b2"]
    assert "b2 is bad" in error


def test_summary_says_how_to_retry_what_could_not_be_read() -> None:
    assert retry_lines(Counter(truncated=2, no_face=1)) == []
    assert retry_lines(Counter(truncated=2, reader_crashed=3, failed=1)) == [
        "Could not be read: reader_crashed 3, failed 1. Try them again: pdfgc preprocess --retry"
    ]
