"""Preset `small_gpu`: the released layout at 224 px on one card, in an evening.

    pdfgc train all --preset small_gpu --device cuda

Time: not measured here on a whole run; `benchmarks/train_step.py` gives the images a second of a card.
Unverified: as `paper`, with fewer steps and higher rates, which are ours.
"""

import dataclasses
from typing import Final

from training.engine.settings import Cadence, LoopSettings, OptimiserSettings
from training.runs.paper import RUN as PAPER
from training.runs.preset import RunPreset

_QUICK: Final = OptimiserSettings(learning_rate=2e-4, betas=(0.0, 0.99), weight_decay=0.0)
_HEAD: Final = OptimiserSettings(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)

RUN: Final[RunPreset] = dataclasses.replace(
    PAPER,
    perception_loop=LoopSettings(steps=4_000, batch_size=64, precision="bfloat16"),
    stage1_motion=dataclasses.replace(PAPER.stage1_motion, optimiser=_QUICK, adversary_optimiser=_QUICK),
    stage1_motion_loop=LoopSettings(steps=20_000, batch_size=16, precision="bfloat16"),
    stage2_lip=dataclasses.replace(PAPER.stage2_lip, optimiser=_HEAD),
    stage2_lip_loop=LoopSettings(steps=8_000, batch_size=32, precision="bfloat16"),
    stage2_eye=dataclasses.replace(PAPER.stage2_eye, optimiser=_HEAD),
    stage2_eye_loop=LoopSettings(steps=4_000, batch_size=32, precision="bfloat16"),
    stage2_pose=dataclasses.replace(PAPER.stage2_pose, optimiser=_HEAD),
    stage2_pose_loop=LoopSettings(steps=4_000, batch_size=64, precision="bfloat16"),
    stage3_expression=dataclasses.replace(
        PAPER.stage3_expression, optimiser=_QUICK, adversary_optimiser=_QUICK
    ),
    stage3_expression_loop=LoopSettings(steps=20_000, batch_size=16, precision="bfloat16"),
    cadence=Cadence(
        log_every_steps=50,
        checkpoint_every_steps=1_000,
        samples_every_steps=500,
        finite_check_every_steps=20,
        workers=6,
    ),
)
