"""Preset `paper`: the method as published, as far as that is known.

    pdfgc train all --preset paper --processes 4 --vgg19-weights vgg19

Time: a secondary source gives 2 days for lip, 2 for pose and 2 weeks for expression on 4 x V100.
Unverified: all values. Batch size, λ, 500,000 iterations and the learning rates of all networks but G were
found unused in the official code; temperature, K, M and the window are unknown and are the documented
defaults of their settings. G has StyleGAN2's rate, and neither G nor D weight decay (docs/training.md).
Expected metrics: those of the released model, in the evaluation report.
"""

from typing import Final

from training.data.lip_windows import LipWindowSettings
from training.data.sources import ExpressionWindowSettings
from training.engine.settings import LoggingConfig, OptimizerSettings, TrainerSettings
from training.runs.preset import RunPreset, StageRun
from training.stages.expression_model import ExpressionStageSettings
from training.stages.perception import PerceptionStageSettings
from training.stages.stage1_motion import MotionStageSettings
from training.stages.stage2_eye import EyeStageSettings
from training.stages.stage2_lip import LipStageSettings
from training.stages.stage2_pose import PoseStageSettings

_STEPS: Final = 500_000  # found unused in the official code; of which stage is unknown
_BATCH: Final = 32  # per GPU; same source

_TRAINER: Final = TrainerSettings(
    steps=_STEPS, batch_size=_BATCH, precision="bfloat16", gather_over_ranks=True
)

RUN: Final = RunPreset(
    networks="official",
    stages={
        "perception": StageRun(
            PerceptionStageSettings(
                optimizer=OptimizerSettings(learning_rate=5e-4, betas=(0.9, 0.99), weight_decay=1e-4)
            ),
            _TRAINER.replace(steps=50_000, batch_size=64),
        ),
        "stage1_motion": StageRun(MotionStageSettings(), _TRAINER),
        # Temperature .07 is MoCo's; the formula's 1.0 bounds the loss far above 0 (`FORMULA_TEMPERATURE`).
        "stage2_lip": StageRun(
            LipStageSettings(
                windows=LipWindowSettings(from_same_clip=4, from_other_clips=4),
                temperature=0.07,
                negatives_from_batch=True,
            ),
            _TRAINER,
        ),
        "stage2_eye": StageRun(EyeStageSettings(temperature=0.07), _TRAINER),
        "stage2_pose": StageRun(PoseStageSettings(), _TRAINER),
        "stage3_expression": StageRun(
            ExpressionStageSettings(windows=ExpressionWindowSettings(window_frames=9)), _TRAINER
        ),
    },
    default_trainer=_TRAINER,
    # λ 10 on random filters is not the method's loss.
    named_weights=("vgg19_weights",),
    logging=LoggingConfig(
        log_every_steps=100,
        checkpoint_every_steps=5_000,
        samples_every_steps=2_000,
        held_out_every_steps=10_000,
        finite_check_every_steps=50,
        workers=8,
    ),
)
