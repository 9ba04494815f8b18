"""The command `pdfgc settings`."""

import json

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.cli.settings import settings_text
from pipelines.deployed_settings import setting_rows

STEPS = "PDFGC__TRAINING__STEPS"


def output(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["settings", *arguments])
    assert result.exit_code == 0
    return result.output


def test_settings_text_fits_80_columns() -> None:
    assert max(map(len, settings_text(setting_rows(), 80).splitlines())) <= 80


def test_settings_lists_value_default_bounds_and_description(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STEPS, "5")
    assert output("training", "steps").splitlines() == [
        "PDFGC__TRAINING__",
        "  STEPS = 5  (default 0, >= 0)",
        "      Training steps; 0: the preset's",
        "1 settings",
    ]
    assert output("--changed").splitlines()[-1] == "1 settings"


def test_settings_prints_json() -> None:
    (entry,) = json.loads(output("training", "steps", "--json"))
    assert (entry["variable"], entry["value"], entry["bounds"]) == (STEPS, 0, ">= 0")


def test_settings_refuses_an_invalid_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STEPS, "-5")
    result = CliRunner().invoke(main, ["settings"])
    assert (result.exit_code, result.output) == (1, f"Error: {STEPS} must be >= 0, got -5\n")


def test_help_of_a_command_exits_quietly() -> None:
    result = CliRunner().invoke(main, ["settings", "--help"])
    assert result.exit_code == 0
    assert "Error" not in result.output
