"""Asset checks of the training stages. Unusable results block downstream; poor ones warn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upath import UPath

from pipelines.checks import CheckDefinition
from storage.checks import CheckOutcome
from training.engine.progress import LossRecord, read_held_out_metrics, read_losses
from training.jobs.stage_run import reload_stage


@dataclass(frozen=True)
class TrainedStage:
    """A published stage of a training run."""

    root: UPath
    stage: str
    run: str
    folder: Path  # local


def check_loss_decreased(records: Sequence[LossRecord]) -> CheckOutcome:
    """The mean weighted total of the last tenth of the records is below that of the first tenth."""
    if len(records) < 2:
        return CheckOutcome(False, f"{len(records)} records, need 2 to compare")
    tenth = max(1, len(records) // 10)
    first = sum(record.total for record in records[:tenth]) / tenth
    last = sum(record.total for record in records[-tenth:]) / tenth
    description = f"weighted total: first tenth {first:.4g}, last tenth {last:.4g}"
    return CheckOutcome(last < first, description, {"first": first, "last": last})


def check_finite(records: Sequence[LossRecord]) -> CheckOutcome:
    """Every loss of every record is finite."""
    if not records:
        return CheckOutcome(False, "no records")
    steps = [record.step for record in records if not record.is_finite]
    description = f"not finite at steps {steps[:5]}" if steps else f"all {len(records)} records are finite"
    return CheckOutcome(not steps, description, {"records": len(records), "not finite": len(steps)})


def check_beats_chance(folder: Path) -> CheckOutcome:
    """Every held-out metric that decides is better than chance."""
    metrics = [
        metric for metric in read_held_out_metrics(folder) if metric.decides and metric.chance is not None
    ]
    if not metrics:
        return CheckOutcome(False, "no held-out metric was measured")
    failed = [metric for metric in metrics if not metric.beats_chance]
    values = [f"{metric.name} {metric.value:.4g} (chance {metric.chance:.4g})" for metric in failed]
    description = (
        f"not above chance: {', '.join(values)}" if failed else f"{len(metrics)} metrics beat chance"
    )
    return CheckOutcome(not failed, description, {"metrics": len(metrics), "failed": len(failed)})


def check_weights_reload(stage: TrainedStage) -> CheckOutcome:
    """The published weights load into the networks of the stage. Imports torch."""
    try:
        reload_stage(stage.root, stage.stage, stage.run)
    except (ValueError, OSError) as error:
        return CheckOutcome(False, str(error))
    return CheckOutcome(True, "the published weights load")


TrainingCheck = CheckDefinition[TrainedStage]

TRAINING_CHECKS: Final = (
    TrainingCheck(
        "losses_finite",
        "No loss was NaN or infinite.",
        blocking=True,
        check=lambda stage: check_finite(read_losses(stage.folder)),
    ),
    TrainingCheck(
        "checkpoint_reloads",
        "The published weights load into the networks of the stage.",
        blocking=True,
        check=check_weights_reload,
    ),
    TrainingCheck(
        "loss_decreased",
        "The weighted total decreased from the first tenth of the records to the last.",
        blocking=False,
        check=lambda stage: check_loss_decreased(read_losses(stage.folder)),
    ),
    TrainingCheck(
        "held_out_beats_chance",
        "Every deciding metric on held-out clips is better than chance.",
        blocking=False,
        check=lambda stage: check_beats_chance(stage.folder),
    ),
)
