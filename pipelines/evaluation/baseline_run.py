"""The asset `baseline_run`, which later runs are compared with, and the check of that comparison."""

from typing import Any, Final

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    Config,
    DataVersion,
    MetadataValue,
    asset,
)
from pydantic import Field
from upath import UPath

from evaluation.comparison.baseline_runs import BaselineRun, set_baseline_run
from evaluation.comparison.regressions import (
    BaselineSettings,
    RegressionCheck,
    compare_with_baseline,
    metric_name,
)
from evaluation.comparison.text import check_text, markdown_table, regression_lines
from evaluation.records import SCHEMA
from evaluation.report.summary import EVALUATION_REPORT
from pipelines.checks import check_result
from pipelines.forms import resource_class
from pipelines.metadata import AssetResult, column_schema
from pipelines.operations.retries import retry_transient_errors
from pipelines.partitions import training_runs
from pipelines.resources import WorkspaceResource
from storage.checks import CheckOutcome
from storage.fingerprint import DIGEST_DIGITS

NO_REGRESSION: Final = "no_regression_against_baseline"


class BaselineResource(resource_class(BaselineSettings)):
    """How runs are compared with the baseline run: tolerance and metrics."""


class SetBaselineConfig(Config):
    """Why a run is set as baseline, and whether regressions are allowed."""

    note: str = Field(description="Why this run is set as the baseline; shown in the history")
    allow_regression: bool = Field(
        default=False, description="Set it even if it is worse than the current baseline run"
    )


@asset(
    deps=[EVALUATION_REPORT],
    partitions_def=training_runs,
    group_name="evaluation",
    kinds={"json", "parquet"},
    owners=["team:evaluation"],
    metadata={"dagster/column_schema": column_schema(SCHEMA)},
)
def baseline_run(
    context: AssetExecutionContext,
    config: SetBaselineConfig,
    workspace: WorkspaceResource,
    baseline: BaselineResource,
) -> AssetResult:
    """The run that later runs are compared with. Materialising it sets a run's report as the baseline.

    The run is compared with the current baseline run first and refused if it is worse, unless
    `allow_regression` is set. Its records are copied to `baseline_runs/` and so outlive the run's files.
    """
    root = workspace.open()
    run = context.partition_key
    with retry_transient_errors(context):
        check = require_no_regression(
            root, run, baseline.to_settings(), allow_regression=config.allow_regression
        )
        regressions = [metric_name(metric.key) for metric in check.regressions]
        entry = set_baseline_run(root, run, config.note, regressions=regressions)
    context.log.info("Set run %s as the baseline: %s", run, entry.note)
    return AssetResult(metadata=_metadata(root, entry, check), data_version=DataVersion(entry.report_content))


def regression_check_spec() -> AssetCheckSpec:
    """Spec of the check, for the asset `evaluation_report`."""
    description = "No metric of the model is significantly worse than in the baseline run."
    return AssetCheckSpec(NO_REGRESSION, asset=EVALUATION_REPORT, description=description, blocking=True)


def run_regression_check(root: UPath, run: str, settings: BaselineSettings) -> AssetCheckResult:
    """Compare a run's report with the baseline run."""
    try:
        check = compare_with_baseline(root, run, settings)
    except ValueError as error:  # an unknown metric or a damaged history fails the check, not the report
        return check_result(CheckOutcome(False, str(error)), name=NO_REGRESSION, blocking=True)
    values = {"metrics tested": check.tested, "regressions": len(check.regressions)}
    outcome = CheckOutcome(check.passed, check_text(check), values)
    table = MetadataValue.md(markdown_table(check)) if check.metrics else None
    return check_result(outcome, name=NO_REGRESSION, blocking=True, table=table)


def require_no_regression(
    root: UPath, run: str, settings: BaselineSettings, *, allow_regression: bool
) -> RegressionCheck:
    """Compare a run with the baseline run, as a condition for setting it as baseline.

    Raises:
        ValueError: the run is worse or cannot be compared and `allow_regression` is False, or it has no
            report.
    """
    check = compare_with_baseline(root, run, settings)
    if not check.passed and not allow_regression:
        raise ValueError(
            f"run {run!r} is not set as the baseline: {check_text(check)}. "
            "To set it anyway: --allow-regression (allow_regression in the launchpad)"
        )
    return check


def _metadata(root: UPath, entry: BaselineRun, check: RegressionCheck) -> dict[str, Any]:
    lines = "\n".join(f"- {line}" for line in regression_lines(check))
    return {
        "run": entry.run,
        "note": entry.note,
        "set at": entry.set_at,
        "comparison with the previous baseline run": check_text(check),
        "regressions": MetadataValue.md(lines or "none"),
        "weights": entry.weights[:DIGEST_DIGITS],
        "data set": entry.dataset[:DIGEST_DIGITS],
        "report": MetadataValue.path(str(root / entry.report)),
        "folder": MetadataValue.path(str(root / entry.folder)),
    }
