"""The commands `pdfgc runs` and `pdfgc export`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from tests.factories.evaluation.head_files import publish_toy_run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_presets: None) -> Path:  # noqa: ARG001
    publish_toy_run(tmp_path / "root", "mine")
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.mark.usefixtures("root")
def test_runs_are_printed_as_table_and_json() -> None:
    printed = CliRunner().invoke(main, ["runs"])
    assert (printed.exit_code, "mine" in printed.output) == (0, True)
    listed = json.loads(CliRunner().invoke(main, ["runs", "--json"]).output)
    assert [run["run"] for run in listed] == ["mine"]


@pytest.mark.usefixtures("root")
def test_unknown_run_is_told_with_those_that_exist() -> None:
    result = CliRunner().invoke(main, ["runs", "other"])
    assert result.exit_code == 1
    assert "no run 'other' under" in result.output
    assert "runs: mine" in result.output


@pytest.mark.usefixtures("root")
def test_export_writes_a_file_or_a_folder(tmp_path: Path) -> None:
    for out in ("model.safetensors", "folder"):
        result = CliRunner().invoke(main, ["export", "mine", str(tmp_path / out)])
        assert (result.exit_code, f"{tmp_path / out}: " in result.output) == (0, True)
    assert (tmp_path / "folder" / "model.safetensors").is_file()
