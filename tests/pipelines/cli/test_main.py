"""The command line, as a newcomer meets it."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli.main import COMMANDS, main
from pipelines.operations.instance import ensure_dagster_home


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back after the test
    monkeypatch.delenv("PDFGC_VIDEOS", raising=False)
    return tmp_path / "root"


def test_help_lists_every_command_and_where_to_start() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    for command in COMMANDS:
        assert f"  {command} " in shown
    assert "Start with: pdfgc demo" in " ".join(shown.split())
    assert "PDFGC_ROOT" in shown


def test_missing_folder_is_a_one_line_error(root: Path) -> None:
    result = CliRunner().invoke(main, ["preprocess", str(root / "no such folder")])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert result.output.startswith(f"Error: no such folder: {root / 'no such folder'}; ")


def test_portraits_and_videos_exclude_each_other(root: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--videos", str(root), "--portrait", "face.jpg"])
    assert result.exit_code == 2
    assert "cannot be used with --videos" in result.output


def test_dagster_home_is_in_the_root(root: Path) -> None:
    home = ensure_dagster_home()
    assert home == root / "dagster"
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert "telemetry:\n  enabled: false" in (home / "dagster.yaml").read_text()


def test_existing_dagster_home_is_not_changed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "dagster.yaml").write_text("telemetry:\n  enabled: true\n")
    monkeypatch.setenv("DAGSTER_HOME", str(own))
    assert ensure_dagster_home() == own
    assert (own / "dagster.yaml").read_text() == "telemetry:\n  enabled: true\n"
    assert not root.exists()
