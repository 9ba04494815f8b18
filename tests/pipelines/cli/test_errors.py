"""Errors of the commands: one line on standard error and an exit status."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from upath import UPath

from pipelines.cli.evaluation import compare
from pipelines.cli.main import main, one_line
from pipelines.cli.operations import status
from tests.factories.training.toy_run import publish_weights


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """A root with all that the commands ask of the runs `a` and `b`."""
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back after the test
    root = UPath(tmp_path / "root")
    for run in ("a", "b"):
        for asset in ("stage1_motion", "stage3_expression", "generated_videos", "evaluation_report"):
            publish_weights(root, asset, run, {})
    return root


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    ("arguments", "asset"),
    [
        (("train", "stage2_lip", "--run", "nobody"), "stage1_motion"),
        (("train", "stage2_lip", "--parents-run", "nobody"), "stage1_motion"),
        (("evaluate", "--run", "nobody"), "stage3_expression"),
        (("compare", "a", "nobody"), "generated_videos"),
        (("baseline", "set", "nobody", "--note", "x"), "evaluation_report"),
    ],
)
def test_missing_run_is_one_line_that_lists_the_others(
    root: UPath, arguments: tuple[str, ...], asset: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.output == f"Error: no {asset} of 'nobody' under {root}; available: a, b\n"


def test_invalid_run_name_is_one_line(root: UPath) -> None:
    assert root.exists()
    result = run("train", "all", "--run", "a/b")
    assert result.exit_code == 1
    assert result.output.startswith("Error: training run 'a/b' must match ")
    assert result.output.count("\n") == 1


@pytest.mark.usefixtures("root")
def test_traceback_option_shows_the_traceback() -> None:
    result = run("--traceback", "evaluate", "--run", "nobody")
    assert isinstance(result.exception, ValueError)


@pytest.mark.usefixtures("root")
def test_interrupted_command_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "read_status", interrupt)
    result = run("status")
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.usefixtures("root")
def test_error_without_a_message_names_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(compare.compare, "callback", fail)
    result = run("compare", "a", "b")
    assert (result.exit_code, result.output) == (1, "Error: TimeoutError\n")


def test_one_line_joins_the_lines_of_a_message() -> None:
    assert one_line(ValueError("first\n  second")) == "first second"


@pytest.mark.usefixtures("root")
def test_errors_have_no_control_characters_and_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ValueError("a\x1b[2J.mp4 at https://user:PA55WORD@host/x")

    monkeypatch.setattr(compare.compare, "callback", fail)
    assert run("compare", "a", "b").output == "Error: a\\x1b[2J.mp4 at https://***@host/x\n"


def test_usage_errors_keep_their_exit_status() -> None:
    result = run("status", "--nope")
    assert result.exit_code == click.UsageError.exit_code
