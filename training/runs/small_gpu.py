"""Preset `small_gpu`: 224 px on one GPU, with fewer steps than `paper`.

The released layout with the appearance path `warp` (ours), which shows new people after few steps.

    pdfgc train all --preset small_gpu --device cuda --vgg19-weights vgg19

Time: not measured on a whole run; `benchmarks/training/train_step.py` measures images per second.
Expected metrics: not measured. Unverified: as `paper`; steps and learning rates are ours,
G's excepted, which is `paper`'s.
"""

import dataclasses
from typing import Any, Final

from training.engine.settings import LoggingConfig, OptimizerSettings, TrainerSettings
from training.runs.paper import RUN as PAPER
from training.runs.preset import StageRun
from training.stages.expression_model import ExpressionWeights
from training.stages.pictures.flow_fit import FlowFitSettings
from training.stages.stage1_motion import MotionWeights

_QUICK: Final = OptimizerSettings(learning_rate=2e-4, betas=(0.0, 0.99), weight_decay=0.0)
_FLOW: Final = 20.0  # at 64 px, the flow is hardly learned without this loss
_FLOW_FIT: Final = FlowFitSettings(steps=2_000, local_weight=2.0)
_HEAD: Final = OptimizerSettings(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)


def _shorter(stage: str, steps: int, batch_size: int, **settings: Any) -> StageRun:
    """The paper's stage with fewer steps and other settings."""
    paper = PAPER.stages[stage]
    trainer = paper.trainer.replace(steps=steps, batch_size=batch_size)
    return StageRun(paper.settings.replace(**settings), trainer)


RUN: Final = dataclasses.replace(
    PAPER,
    networks="official_warp",
    stages={
        "perception": _shorter("perception", 4_000, 64),
        "stage1_motion": _shorter(
            "stage1_motion",
            20_000,
            16,
            weights=MotionWeights(flow=_FLOW, flow_local=_FLOW),
            flow_fit=_FLOW_FIT,
            # The flow's inputs are standardised before the first step, so the trunk must see faces by then.
            start_trunk_from_perception=True,
            optimizer=_QUICK,
            adversary_optimizer=_QUICK,
        ),
        "stage2_lip": _shorter("stage2_lip", 8_000, 32, optimizer=_HEAD),
        "stage2_eye": _shorter("stage2_eye", 4_000, 32, optimizer=_HEAD),
        "stage2_pose": _shorter("stage2_pose", 4_000, 64, optimizer=_HEAD),
        "stage3_expression": _shorter(
            "stage3_expression",
            20_000,
            16,
            weights=ExpressionWeights(flow=_FLOW, flow_local=_FLOW),
            flow_fit=_FLOW_FIT,
            optimizer=_QUICK,
            adversary_optimizer=_QUICK,
        ),
    },
    default_trainer=TrainerSettings(steps=4_000, batch_size=32, precision="bfloat16"),
    logging=LoggingConfig(
        log_every_steps=50,
        checkpoint_every_steps=1_000,
        samples_every_steps=500,
        finite_check_every_steps=20,
        workers=6,
    ),
)
