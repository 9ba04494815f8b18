"""Preset `starter_continued`: the starter model trained on, from an exported one.

    pdfgc train all --preset starter_continued --start-from FORMER.safetensors --run NAME

Data and figures: the model card, `weights/starter/README.md`.

E_app stays as it was, since the generator knows it: one step of stage 1 serves only to publish it. The
heads of stage 2 get used to the trunk's features, the flow is fitted again, and stage 3 goes on at smaller
rates.
"""

import dataclasses
from typing import Final

from training.runs.preset import StageRun
from training.runs.starter import RUN as STARTER
from training.stages.flow_fit import FlowFitSettings


def _stage(name: str, steps: int, **changes: object) -> StageRun:
    run = STARTER.stages[name]
    return StageRun(run.settings.replace(**changes), run.trainer.replace(steps=steps))


_MOTION: Final = STARTER.stages["stage1_motion"].settings
_LIP: Final = STARTER.stages["stage2_lip"].settings
_POSE: Final = STARTER.stages["stage2_pose"].settings
_EXPRESSION: Final = STARTER.stages["stage3_expression"].settings

RUN: Final = dataclasses.replace(
    STARTER,
    logging=STARTER.logging.replace(held_out_every_steps=0, checkpoint_every_steps=160),
    stages={
        **STARTER.stages,
        "stage1_motion": _stage(
            "stage1_motion",
            1,
            flow_fit=FlowFitSettings(),
            optimizer=_MOTION.optimizer.replace(learning_rate=1e-6),
            generator_optimizer=_MOTION.generator_optimizer.replace(learning_rate=1e-6),
        ),
        "stage2_lip": _stage(
            "stage2_lip", 100, optimizer=_LIP.optimizer.replace(learning_rate=5e-4, decay_every_steps=50)
        ),
        "stage2_pose": _stage("stage2_pose", 500, optimizer=_POSE.optimizer.replace(decay_every_steps=150)),
        "stage3_expression": _stage(
            "stage3_expression",
            640,
            flow_fit=_EXPRESSION.flow_fit.replace(steps=1_200, local_weight=3.0),
            generator_optimizer=_EXPRESSION.generator_optimizer.replace(
                learning_rate=1.2e-3, decay_every_steps=160, decay_factor=0.5
            ),
        ),
    },
)
