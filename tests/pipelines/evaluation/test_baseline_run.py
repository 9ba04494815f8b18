"""The asset `baseline_run`, the check that blocks it, and the commands."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult, materialize
from rich.console import Console
from upath import UPath

import pipelines.evaluation.report as report_asset
from evaluation.comparison.baseline_runs import current_baseline_run, list_baseline_runs
from evaluation.config import EvaluationConfig
from evaluation.records import MODEL, MetricRecord
from evaluation.report import summary
from evaluation.report.summary import EVALUATION_REPORT
from pipelines.cli.evaluation.evaluate import run_evaluation
from pipelines.cli.main import main
from pipelines.evaluation.baseline_run import NO_REGRESSION, set_baseline_job
from pipelines.evaluation.report import evaluation_report
from pipelines.operations.runs import local_runs
from pipelines.operations.runs.local_runs import JobFailedError
from pipelines.partitions import add_training_run
from pipelines.resources import BaselineResource, WorkspaceResource
from storage.publishing import Published, current
from tests.factories.evaluation.published_reports import publish_report
from tests.factories.evaluation.report import metric_records
from tests.factories.training.toy_run import publish_weights
from training.stage_catalog import RENDERING_STAGE

YAW = (1.0, 2.0, 1.5)


def yaw(*values: float) -> list[MetricRecord]:
    return metric_records("yaw_error", {MODEL: values}, unit="degrees")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """Reports of the runs `old`, `worse` (by two degrees) and `same`, all up to date."""
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back after the test
    monkeypatch.setattr(report_asset, "run_report", published_report)
    root = UPath(tmp_path / "root")
    for run, values in (("old", YAW), ("worse", (3.0, 4.0, 3.5)), ("same", YAW)):
        publish_report(root, run, yaw(*values))
    return root


def published_report(root: UPath, run: str, *_: object, **__: object) -> Published:
    published = current(root, EVALUATION_REPORT, run)
    assert published is not None
    return published


def materialise_report(run: str) -> ExecuteInProcessResult:
    with DagsterInstance.ephemeral() as instance:
        add_training_run(instance, run)
        return materialize(
            [evaluation_report],
            instance=instance,
            partition_key=run,
            resources={"workspace": WorkspaceResource(), "baseline": BaselineResource()},
            raise_on_error=False,
        )


def set_baseline(run: str, **config: Any) -> ExecuteInProcessResult:
    values = {"run": run, "note": "why", **config}
    return set_baseline_job.execute_in_process(
        run_config={"ops": {"set_baseline": {"config": values}}},
        resources={"workspace": WorkspaceResource(), "baseline": BaselineResource()},
        raise_on_error=False,
    )


def test_failed_check_blocks_a_worse_run(root: UPath) -> None:
    first = materialise_report("old")
    assert first.success
    assert set_baseline("old").success
    (passed,) = first.get_asset_check_evaluations()
    assert (passed.check_name, passed.passed, passed.blocking) == (NO_REGRESSION, True, True)
    assert "no baseline run is set" in (passed.description or "")

    second = materialise_report("worse")
    assert not second.success
    (failed,) = second.get_asset_check_evaluations()
    assert not failed.passed
    assert "yaw_error (self, mediapipe_mesh) 1.5 ± 1.2 to 3.5 ± 1.2 degrees, worse by 2.00" in (
        failed.description or ""
    )
    assert [event.step_key for event in second.get_step_failure_events()] == ["evaluation_report"]
    materialized = {event.asset_key for event in second.get_asset_materialization_events()}
    assert materialized == {AssetKey("evaluation_report")}
    assert [entry.run for entry in list_baseline_runs(root)] == ["old"]


def test_equal_run_becomes_the_baseline(root: UPath) -> None:
    assert set_baseline("old").success
    result = set_baseline("same")
    assert result.success
    (event,) = result.get_asset_materialization_events()
    assert (event.asset_key, event.partition) == (AssetKey("baseline_run"), "same")
    metadata = event.materialization.metadata
    assert metadata["run"].value == "same"
    assert str(metadata["comparison with the previous baseline run"].value).startswith(
        "no regression against baseline run 'old'"
    )
    last = current_baseline_run(root)
    assert last is not None
    assert last.run == "same"


def test_job_refuses_a_worse_run_unless_allowed(root: UPath) -> None:
    assert set_baseline("old").success
    refused = set_baseline("worse")
    assert not refused.success
    error = refused.failure_data_for_node("set_baseline")
    assert error is not None
    assert error.user_failure_data is not None
    reason = str(error.user_failure_data.description)
    assert reason.startswith("run 'worse' is not set as the baseline: regression against baseline run 'old'")
    allowed = set_baseline("worse", allow_regression=True)
    assert allowed.success
    last = current_baseline_run(root)
    assert last is not None
    assert (last.run, last.regressions) == ("worse", ("yaw_error (self, mediapipe_mesh)",))


@pytest.mark.usefixtures("root")
def test_unknown_metric_fails_the_check() -> None:
    assert set_baseline("old").success
    with DagsterInstance.ephemeral() as instance:
        add_training_run(instance, "same")
        result = materialize(
            [evaluation_report],
            instance=instance,
            partition_key="same",
            resources={
                "workspace": WorkspaceResource(),
                "baseline": BaselineResource.model_validate({"metrics": "yew_error"}),
            },
            raise_on_error=False,
        )
    (failed,) = result.get_asset_check_evaluations()
    assert not failed.passed
    assert "unknown metrics yew_error" in (failed.description or "")


def test_evaluate_prints_the_tables_before_failing(
    root: UPath, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish_weights(root, RENDERING_STAGE, "worse", {})
    shown: list[str] = []

    def failing(*_: object, **__: object) -> None:
        raise JobFailedError(f"evaluation_report: {NO_REGRESSION}: regression against baseline run 'old'")

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(local_runs, "run_job", failing)
    monkeypatch.setattr(summary, "print_report_table", lambda _, run, __: shown.append(run))
    with pytest.raises(JobFailedError, match="regression against baseline run 'old'"):
        run_evaluation(EvaluationConfig(run="worse"), Console())
    assert shown == ["worse"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.usefixtures("root")
def test_commands_set_and_list_baseline_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run("baseline", "list").output == "no baseline run is set: pdfgc baseline set RUN --note WHY\n"
    missing = run("baseline", "set", "nobody", "--note", "x")
    assert missing.exit_code == 1
    assert missing.output.endswith("; available: old, same, worse\n")
    assert len(missing.output.splitlines()) == 1
    first = run("baseline", "set", "old", "--note", "the first")
    assert first.exit_code == 0, first.output
    refused = run("baseline", "set", "worse", "--note", "oh well")
    assert refused.exit_code == 1
    assert "Error: run 'worse' is not set as the baseline: regression against" in refused.output
    assert run("baseline", "set", "worse", "--note", "oh well", "--allow-regression").exit_code == 0
    history = json.loads(run("baseline", "list", "--json").output)
    assert [(entry["run"], entry["note"]) for entry in history] == [
        ("old", "the first"),
        ("worse", "oh well"),
    ]
    table = run("baseline", "list").output
    assert "the first" in table
    assert "yaw_error" in table
