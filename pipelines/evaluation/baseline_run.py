"""The job `set_baseline`, the asset `baseline_run` that it records, and the check of a run against it."""

from typing import Any, Final

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetMaterialization,
    AssetSpec,
    Config,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    job,
    op,
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
from pipelines.deployed_settings import deployed
from pipelines.metadata import column_schema
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.partitions import training_runs
from pipelines.resources import BaselineResource, WorkspaceResource
from pipelines.web.locations import root_link
from storage.checks import CheckOutcome
from storage.fingerprint import DIGEST_DIGITS
from storage.publishing import require_current
from training.jobs.config import TrainingConfig

NO_REGRESSION: Final = "no_regression_against_baseline"


BASELINE_RUN: Final = "baseline_run"
STEP: Final = "set_baseline"  # in a run's configuration

baseline_run: Final = AssetSpec(
    BASELINE_RUN,
    deps=[EVALUATION_REPORT],
    partitions_def=training_runs,
    group_name="evaluation",
    kinds={"json", "parquet"},
    owners=["team:evaluation"],
    metadata={"columns": column_schema(SCHEMA)},
    description="The run that later runs are compared with. The job `set_baseline` sets it; materializing "
    "assets never does. Its records are copied to `baseline_runs/` and so outlive the run's files.",
)


class SetBaselineConfig(Config):
    """Which run is set as baseline and why, and whether regressions are allowed."""

    run: str = Field(
        default=deployed(TrainingConfig).run, description="Training run, or starter; its report must exist"
    )
    note: str = Field(default="", description="Why this run is set as the baseline; shown in the history")
    allow_regression: bool = Field(
        default=False, description="Set it even if it is worse than the current baseline run"
    )


@op(out=Out(Nothing), tags={"kind": "json"}, description="Set a run's report as the baseline.")
def set_baseline_run_op(
    context: OpExecutionContext,
    config: SetBaselineConfig,
    workspace: WorkspaceResource,
    baseline: BaselineResource,
) -> None:
    """Compare a run with the current baseline run and set it as baseline.

    It is refused if it is worse, unless `allow_regression` is set.
    """
    with guarded_step(context):
        root = workspace.open()
        require_current(root, EVALUATION_REPORT, config.run)
        check = require_no_regression(
            root, config.run, baseline.to_settings(), allow_regression=config.allow_regression
        )
        regressions = [metric_name(metric.key) for metric in check.regressions]
        entry = set_baseline_run(root, config.run, config.note, regressions=regressions)
    context.log.info("Set run %s as the baseline: %s", config.run, entry.note)
    metadata = _metadata(root, entry, check)
    context.log_event(AssetMaterialization(BASELINE_RUN, partition=config.run, metadata=metadata))


@job(
    name="set_baseline",
    description="Set a run as the baseline that later runs must not be worse than. Needs the run and a note.",
)
def set_baseline_job() -> None:
    """A job with one op."""
    set_baseline_run_op.alias(STEP)()


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
        "report": root_link(root, root / entry.report),
        "folder": root_link(root, root / entry.folder),
    }
