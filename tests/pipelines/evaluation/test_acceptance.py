"""Accepting a run: the check that blocks, the asset that it blocks, and the commands."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult, materialize
from rich.console import Console
from upath import UPath

import pipelines.evaluation.report as report_asset
from evaluation.comparison.baseline_runs import accepted_history, last_accepted
from evaluation.config import EvaluationChoice
from evaluation.records import MODEL, MetricRecord
from evaluation.report import summary
from evaluation.report.summary import EVALUATION_REPORT
from pipelines.cli.evaluate import run_evaluation
from pipelines.cli.main import main
from pipelines.evaluation.acceptance import NOT_WORSE, AcceptanceRules
from pipelines.evaluation.accepted_run import accepted_run
from pipelines.evaluation.report import evaluation_report
from pipelines.operations import local_runs
from pipelines.operations.local_runs import JobFailedError
from pipelines.resources import Evaluation, Workspace
from storage.publishing import Published, current
from tests.factories.acceptance import publish_report
from tests.factories.report import figures

YAW = (1.0, 2.0, 1.5)


def yaw(*values: float) -> list[MetricRecord]:
    return figures("yaw_error", {MODEL: values}, unit="degrees")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """Runs `old`, `worse` (by two degrees) and `same` have reports, which count as up to date."""
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back after the test
    monkeypatch.setattr(report_asset, "run_report", published_report)
    made = UPath(tmp_path / "root")
    for run, values in (("old", YAW), ("worse", (3.0, 4.0, 3.5)), ("same", YAW)):
        publish_report(made, run, yaw(*values))
    return made


def published_report(root: UPath, run: str, *_: object, **__: object) -> Published:
    found = current(root, EVALUATION_REPORT, run)
    assert found is not None
    return found


def materialise(
    run: str, *, report: bool = True, accept: bool = True, **config: Any
) -> ExecuteInProcessResult:
    assets = [*([evaluation_report] if report else []), *([accepted_run] if accept else [])]
    with DagsterInstance.ephemeral() as instance:
        return materialize(
            [evaluation_report, accepted_run],
            selection=[one.key for one in assets],
            instance=instance,
            resources={
                "workspace": Workspace(),
                "evaluation_choice": Evaluation(settings={"run": run}),
                "acceptance": AcceptanceRules(),
            },
            run_config={"ops": {"accepted_run": {"config": {"note": "why", **config}}}} if accept else {},
            raise_on_error=False,
        )


def test_a_failing_check_keeps_a_worse_run_from_being_accepted(root: UPath) -> None:
    first = materialise("old")
    assert first.success
    (passed,) = first.get_asset_check_evaluations()
    assert (passed.check_name, passed.passed, passed.blocking) == (NOT_WORSE, True, True)
    assert "no run is accepted yet" in (passed.description or "")

    second = materialise("worse")
    assert not second.success
    (failed,) = second.get_asset_check_evaluations()
    assert not failed.passed
    assert "yaw_error (self, mediapipe_mesh) 1.5 ± 1.2 to 3.5 ± 1.2 degrees, worse by 2.00" in (
        failed.description or ""
    )
    assert [event.step_key for event in second.get_step_failure_events()] == ["evaluation_report"]
    made = {event.asset_key for event in second.get_asset_materialization_events()}
    assert made == {AssetKey("evaluation_report")}
    assert [one.run for one in accepted_history(root)] == ["old"]


def test_an_equal_run_is_accepted_and_shows_what_it_was_held_against(root: UPath) -> None:
    assert materialise("old").success
    result = materialise("same")
    assert result.success
    shown = result.asset_materializations_for_node("accepted_run")[0].metadata
    assert shown["run"].value == "same"
    assert str(shown["against the one before"].value).startswith("not worse than run 'old'")
    last = last_accepted(root)
    assert last is not None
    assert last.run == "same"


def test_alone_it_compares_anew_and_refuses_a_worse_run_unless_told_otherwise(root: UPath) -> None:
    assert materialise("old", report=False).success
    refused = materialise("worse", report=False)
    assert not refused.success
    error = refused.failure_data_for_node("accepted_run")
    assert error is not None
    assert "run 'worse' is not accepted: worse than run 'old'" in str(error.error)
    accepted = materialise("worse", report=False, even_if_worse=True)
    assert accepted.success
    last = last_accepted(root)
    assert last is not None
    assert (last.run, last.worse) == ("worse", ("yaw_error (self, mediapipe_mesh)",))


@pytest.mark.usefixtures("root")
def test_a_metric_that_nobody_measures_fails_the_check_in_words() -> None:
    assert materialise("old", report=False).success
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            [evaluation_report],
            instance=instance,
            resources={
                "workspace": Workspace(),
                "evaluation_choice": Evaluation(settings={"run": "same"}),
                "acceptance": AcceptanceRules(settings={"metrics": "yew_error"}),
            },
            raise_on_error=False,
        )
    (failed,) = result.get_asset_check_evaluations()
    assert not failed.passed
    assert "no figures of yew_error in either run" in (failed.description or "")


@pytest.mark.usefixtures("root")
def test_evaluating_a_worse_run_shows_its_tables_and_fails_by_saying_what_is_worse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown: list[str] = []

    def failing(*_: object) -> None:
        raise JobFailedError(
            f"run 1 of evaluate failed. evaluation_report: {NOT_WORSE}: worse than run 'old'"
        )

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(local_runs, "run_job", failing)
    monkeypatch.setattr(summary, "print_report_table", lambda _, run, __: shown.append(run))
    with pytest.raises(JobFailedError, match="worse than run 'old'"):
        run_evaluation(EvaluationChoice(run="worse"), Console())
    assert shown == ["worse"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.usefixtures("root")
def test_the_commands_accept_and_show_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run("accepted").output == "no run is accepted yet: pdfgc accept RUN --note WHY\n"
    missing = run("accept", "nobody", "--note", "x")
    assert missing.exit_code == 1
    assert missing.output.endswith("pdfgc evaluate --run nobody makes it\n")
    assert len(missing.output.splitlines()) == 1
    accepted = run("accept", "old", "--note", "the first")
    assert accepted.exit_code == 0, accepted.output
    refused = run("accept", "worse", "--note", "oh well")
    assert refused.exit_code == 1
    assert "Error: run 'worse' is not accepted: worse than run 'old'" in refused.output
    assert run("accept", "worse", "--note", "oh well", "--even-if-worse").exit_code == 0
    history = json.loads(run("accepted", "--json").output)
    assert [(one["run"], one["note"]) for one in history] == [("old", "the first"), ("worse", "oh well")]
    shown = run("accepted").output
    assert "the first" in shown
    assert "yaw_error" in shown
