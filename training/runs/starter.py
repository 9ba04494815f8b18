"""Preset `starter`: the model that is shipped in `weights/starter/`, 96 px, trained on rendered heads.

    pdfgc corpus CORPUS --people 200 --videos 1 --seed 1
    pdfgc preprocess CORPUS
    pdfgc train all --preset starter --run starter-96

Time and expected metrics: see the model card, `weights/starter/README.md`.

`tiny_cpu` at 96 px with more steps; what its settings say of short runs holds here too.
"""

import dataclasses
from typing import Any, Final

from training.runs.preset import StageRun
from training.runs.tiny_cpu import RUN as TINY_CPU


def _longer(stage: str, steps: int, *, decay_every_steps: int | None = None, **trainer: Any) -> StageRun:
    """The stage of `tiny_cpu` with more steps."""
    tiny = TINY_CPU.stages[stage]
    settings = tiny.settings
    if decay_every_steps is not None:
        optimizer = settings.optimizer.replace(decay_every_steps=decay_every_steps)
        settings = settings.replace(optimizer=optimizer)
    if stage == "perception":
        settings = settings.replace(cache_features=False)  # its trunk trains
    if stage == "stage3_expression":
        slower = settings.generator_optimizer.replace(decay_every_steps=steps // 3, decay_factor=0.4)
        settings = settings.replace(generator_optimizer=slower)
    return StageRun(settings, tiny.trainer.replace(steps=steps, **trainer))


RUN: Final = dataclasses.replace(
    TINY_CPU,
    networks="small",
    stages={
        "perception": _longer("perception", 1_600, decay_every_steps=550),
        "stage1_motion": _longer("stage1_motion", 1_800),
        "stage2_lip": _longer("stage2_lip", 1_500, decay_every_steps=500),
        "stage2_eye": _longer("stage2_eye", 2_000, decay_every_steps=700),
        "stage2_pose": _longer("stage2_pose", 2_000, decay_every_steps=700),
        "stage3_expression": _longer("stage3_expression", 5_000, ema_decay=0.998),
    },
)
