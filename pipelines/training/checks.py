"""Asset checks of the training stages, run with the asset.

What could not be used blocks what follows; what may honestly come of a short run warns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dagster import AssetCheckResult, AssetCheckSeverity, AssetCheckSpec
from upath import UPath

from pipelines.training.record import LossRecord, read_figures, read_losses
from training.jobs.stage_run import check_reloads


@dataclass(frozen=True)
class Trained:
    """A stage that was trained."""

    root: UPath
    stage: str
    run: str
    folder: Path  # local


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    passed: bool
    explanation: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class TrainingCheck:
    """A check of a trained stage."""

    description: str
    blocking: bool
    look: Callable[[Trained], Verdict]


def loss_fell(records: Sequence[LossRecord]) -> Verdict:
    """Compare the weighted total of the first tenth of the reports with that of the last."""
    if len(records) < 2:
        return Verdict(passed=False, explanation=f"{len(records)} reports, need 2 to compare", figures={})
    tenth = max(1, len(records) // 10)
    first = sum(record.total for record in records[:tenth]) / tenth
    last = sum(record.total for record in records[-tenth:]) / tenth
    explanation = f"weighted total of the first tenth {first:.4g}, of the last {last:.4g}"
    return Verdict(last < first, explanation, {"first": first, "last": last})


def finite(records: Sequence[LossRecord]) -> Verdict:
    """Every loss of every report is a number."""
    wrong = [record.step for record in records if not record.is_finite]
    if not records:
        return Verdict(passed=False, explanation="there are no reports", figures={})
    explanation = f"not finite at steps {wrong[:5]}" if wrong else f"{len(records)} reports, all finite"
    return Verdict(not wrong, explanation, {"reports": len(records), "not finite": len(wrong)})


def held_out_beats_chance(folder: Path) -> Verdict:
    """Every figure that decides is better than chance."""
    deciding = [figure for figure in read_figures(folder) if figure.decides and figure.chance is not None]
    if not deciding:
        return Verdict(passed=False, explanation="no held-out figure was measured", figures={})
    behind = [figure for figure in deciding if not figure.beats_chance]
    told = [f"{figure.name} {figure.value:.4g} (chance {figure.chance:.4g})" for figure in behind]
    explanation = (
        f"not beyond chance: {', '.join(told)}" if behind else f"{len(deciding)} figures beat chance"
    )
    return Verdict(not behind, explanation, {"figures": len(deciding), "behind": len(behind)})


def checkpoint_reloads(trained: Trained) -> Verdict:
    """The published weights load into the stage's networks. Imports torch."""
    try:
        check_reloads(trained.root, trained.stage, trained.run)
    except (ValueError, OSError) as error:
        return Verdict(passed=False, explanation=str(error), figures={})
    return Verdict(passed=True, explanation="the published weights load", figures={})


TRAINING_CHECKS: Final[Mapping[str, TrainingCheck]] = {
    "finite": TrainingCheck(
        "No loss of any report was NaN or infinite.",
        blocking=True,
        look=lambda trained: finite(read_losses(trained.folder)),
    ),
    "checkpoint_reloads": TrainingCheck(
        "The published weights load into the stage's networks.", blocking=True, look=checkpoint_reloads
    ),
    "loss_fell": TrainingCheck(
        "The weighted total fell from the first tenth of the reports to the last.",
        blocking=False,
        look=lambda trained: loss_fell(read_losses(trained.folder)),
    ),
    "held_out_beats_chance": TrainingCheck(
        "On clips that were never trained on, every figure that decides beats chance.",
        blocking=False,
        look=lambda trained: held_out_beats_chance(trained.folder),
    ),
}


def training_check_specs(stage: str) -> list[AssetCheckSpec]:
    """The checks of a stage, for its asset."""
    return [
        AssetCheckSpec(name, asset=stage, description=check.description, blocking=check.blocking)
        for name, check in TRAINING_CHECKS.items()
    ]


def run_training_checks(trained: Trained) -> list[AssetCheckResult]:
    """Look at what a stage has published."""
    results = []
    for name, check in TRAINING_CHECKS.items():
        verdict = check.look(trained)
        metadata: dict[str, Any] = dict(verdict.figures)
        results.append(
            AssetCheckResult(
                passed=verdict.passed,
                check_name=name,
                severity=AssetCheckSeverity.ERROR if check.blocking else AssetCheckSeverity.WARN,
                description=verdict.explanation,
                metadata=metadata,
            )
        )
    return results
