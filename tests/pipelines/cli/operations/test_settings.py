"""The command `pdfgc settings`."""

import json

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.cli.operations.settings import settings_text
from pipelines.deployed_settings import deployed_settings, setting_rows

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


def test_settings_do_not_show_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC__OPERATIONS__WEBHOOK", "https://hooks.example/PA55WORD")
    monkeypatch.setenv("PDFGC__OPERATIONS__WEBSERVER", "https://user:PA55WORD@ui.example")
    assert "  WEBHOOK = ***  (default '')" in output("--changed").splitlines()
    assert "https://***@ui.example  (default" in output("webserver")
    assert "PA55WORD" not in output() + output("--json") + repr(deployed_settings().operations.webhook)
    assert deployed_settings().operations.webhook.get_secret_value() == "https://hooks.example/PA55WORD"


def test_invalid_settings_do_not_show_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STEPS, "https://user:PA55WORD@host")
    with pytest.raises(ValueError, match=r"got 'https://\*\*\*@host'"):
        deployed_settings()


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
