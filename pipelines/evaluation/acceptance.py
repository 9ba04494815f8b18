"""Holding a run against the accepted one: its settings as a resource, the check, and accepting itself."""

from typing import TYPE_CHECKING, Any, Final

from dagster import AssetCheckResult, AssetCheckSeverity, AssetCheckSpec, Config, ConfigurableResource
from dagster import MetadataValue as Value
from pydantic import Field
from upath import UPath

from evaluation.comparison.against_baseline import (
    AcceptanceSettings,
    AgainstAccepted,
    figure_name,
    hold_against_accepted,
)
from evaluation.comparison.baseline_runs import Acceptance, accept_run
from evaluation.comparison.text import markdown_table, verdict_text, worse_lines
from evaluation.report.summary import EVALUATION_REPORT
from pipelines.config_form import form_of, settings_from
from pipelines.deployed_settings import deployed

NOT_WORSE: Final = "not_worse_than_accepted"

if TYPE_CHECKING:  # the form is made at run time from the settings' dataclass
    AcceptanceForm = Config
else:
    AcceptanceForm = form_of(AcceptanceSettings, deployed=deployed(AcceptanceSettings))


class AcceptanceRules(ConfigurableResource):  # type: ignore[type-arg]
    """When a run counts as worse than the accepted one."""

    settings: AcceptanceForm = Field(
        default=AcceptanceForm(), description="What is tolerated, and which metrics count"
    )

    def to_settings(self) -> AcceptanceSettings:
        """The settings that the form tells."""
        return settings_from(AcceptanceSettings, self.settings)


def accepted_check_spec() -> AssetCheckSpec:
    """The check of `evaluation_report`, for its asset."""
    told = (
        "No figure of the model is worse than the accepted run's by more than is tolerated and noise gives."
    )
    return AssetCheckSpec(NOT_WORSE, asset=EVALUATION_REPORT, description=told, blocking=True)


def accepted_check(root: UPath, run: str, settings: AcceptanceSettings) -> AssetCheckResult:
    """Hold a run's report against the accepted run's."""
    try:
        against = hold_against_accepted(root, run, settings)
    except ValueError as error:  # a metric that nobody measures, a damaged history: a person must mend it
        return _result(str(error), passed=False, metadata={})
    metadata: dict[str, Any] = {"figures judged": against.judged, "worse": len(against.worse)}
    if against.figures:
        metadata["table: against the accepted run"] = Value.md(markdown_table(against))
    return _result(verdict_text(against), passed=against.passed, metadata=metadata)


def accept_unless_worse(
    root: UPath, run: str, note: str, settings: AcceptanceSettings, *, even_if_worse: bool
) -> tuple[Acceptance, AgainstAccepted]:
    """Accept a run, and tell how it stood against the one that was accepted before.

    Raises:
        ValueError: it is worse, or `evaluation.comparison.baseline_runs.accept_run` refuses it.
    """
    against = require_acceptable(root, run, settings, even_if_worse=even_if_worse)
    worse = [figure_name(one.key) for one in against.worse]
    return accept_run(root, run, note, worse=worse), against


def require_acceptable(
    root: UPath, run: str, settings: AcceptanceSettings, *, even_if_worse: bool
) -> AgainstAccepted:
    """Hold a run against the accepted one.

    Raises:
        ValueError: it is worse, or nothing of it can be compared, and `even_if_worse` is not set; or there is
            no report of it.
    """
    against = hold_against_accepted(root, run, settings)
    if not against.passed and not even_if_worse:
        told = (
            f"{verdict_text(against)}. To accept it all the same: --even-if-worse (even_if_worse in the form)"
        )
        raise ValueError(f"run {run!r} is not accepted: {told}")
    return against


def acceptance_metadata(root: UPath, acceptance: Acceptance, against: AgainstAccepted) -> dict[str, Any]:
    """What the asset `accepted_run` shows."""
    metadata: dict[str, Any] = {
        "run": acceptance.run,
        "note": acceptance.note,
        "accepted at": acceptance.accepted_at,
        "against the one before": verdict_text(against),
        "worse in": Value.md("\n".join(f"- {line}" for line in worse_lines(against)) or "nothing"),
        "weights": acceptance.weights[:16],
        "data set": acceptance.dataset[:16],
        "report": Value.path(str(root / acceptance.report)),
        "folder": Value.path(str(root / acceptance.folder)),
    }
    return metadata


def _result(told: str, *, passed: bool, metadata: dict[str, Any]) -> AssetCheckResult:
    return AssetCheckResult(
        passed=passed,
        check_name=NOT_WORSE,
        severity=AssetCheckSeverity.ERROR,
        description=told,
        metadata=metadata,
    )
