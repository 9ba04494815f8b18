from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of videos of a new root."""
    folder = tmp_path / "videos"
    folder.mkdir()
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PDFGC_VIDEOS", str(folder))
    return folder


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """An instance in memory."""
    with DagsterInstance.ephemeral() as instance:
        yield instance
