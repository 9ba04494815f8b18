"""How folders and buckets of videos are named: the variable, the launchpad, the command line."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.preprocessing.source_videos import add_videos_job, require_folder
from pipelines.resources import SourcesResource
from preprocessing.sources.remote import BucketPath

BUCKET = BucketPath("bucket", "some/videos")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.delenv("PDFGC_VIDEOS", raising=False)
    return tmp_path / "root"


def test_the_variable_names_folders_and_buckets_like_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC_VIDEOS", "/videos:s3://bucket/some/videos:~/more")
    assert SourcesResource().all_folders() == [Path("/videos"), BUCKET, Path.home() / "more"]
    monkeypatch.setenv("PDFGC_VIDEOS", "")
    assert SourcesResource().all_folders() == []


def test_folders_of_the_launchpad_come_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC_VIDEOS", "/videos")
    assert SourcesResource(folders=["s3://bucket/some/videos/", "/a:b"]).all_folders() == [
        BUCKET,
        Path("/a:b"),
    ]


@pytest.mark.parametrize("command", [["preprocess"], ["demo", "--videos"]])
def test_a_url_of_another_kind_is_refused_before_anything_runs(root: Path, command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "gs://bucket/videos"])
    assert result.exit_code == 2
    assert "gs:// is not supported, need a folder or s3://bucket" in " ".join(result.output.split())
    assert not root.exists()


@pytest.mark.parametrize("command", [["preprocess"], ["demo", "--videos"]])
def test_a_prefix_without_objects_is_one_clear_line(root: Path, bucket: str, command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, f"{bucket}/videos"])
    assert result.exit_code == 1
    assert result.output == f"Error: no such folder: {bucket}/videos\n"
    assert not root.exists()


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_one_clear_line(root: Path) -> None:
    result = CliRunner().invoke(main, ["preprocess", "s3://no-such-bucket/videos"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: s3://no-such-bucket/videos cannot be listed: ")
    assert result.output.count("\n") == 1
    assert not root.exists()


def test_missing_folder_names_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"vidoes.*; .* has no vidoes; did you mean videos\?$"):
        require_folder(tmp_path / "vidoes" / "person-a")
    require_folder(tmp_path / "videos")


def test_form_of_add_videos_has_one_line(root: Path) -> None:
    config_type: Any = add_videos_job.run_config_schema.config_type
    fields = config_type.fields
    assert fields["ops"].default_value == {"add_videos": {"config": {"folder": ""}}}
    assert set(fields["resources"].default_value) <= {"io_manager"}
    result = add_videos_job.execute_in_process(raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert data.description == "folder is empty: enter a folder of videos, or s3://bucket/prefix"
    assert not root.exists()
