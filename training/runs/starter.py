"""Preset `starter`: the model that is shipped in `weights/starter/`, 96 px, trained on rendered heads.

    pdfgc corpus CORPUS --people 200 --videos 1 --seed 1 --seconds-per-video 4 --side-px 320
    pdfgc preprocess CORPUS
    pdfgc train all --preset starter --run starter-96

Time and expected metrics: see the model card, `weights/starter/README.md`.

`tiny_cpu` at 96 px with more steps; what its settings say of short runs holds here too. E_mot's trunk is
MediaPipe's networks (`small_mesh`), which have seen real people; the rendered ones teach the generator.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from training.data.augmentation.pictures import ColourJitter
from training.data.augmentation.sound import SoundAugmentation
from training.runs.preset import StageRun
from training.runs.tiny_cpu import RUN as TINY_CPU
from training.stages.codes.code_scale import CodeShares
from training.stages.expression_model import ExpressionWeights

_STAGE3_DECAY: Final = 1_200  # steps
_STAGE3_WEIGHTS: Final = TINY_CPU.stages["stage3_expression"].settings.weights.model_dump(
    exclude={"controls", "flow_bending"}
)


def _longer(
    stage: str,
    steps: int,
    *,
    decay_every_steps: int | None = None,
    changes: Mapping[str, Any] | None = None,
    **trainer: Any,
) -> StageRun:
    """The stage of `tiny_cpu` with more steps, and the changes to its settings."""
    tiny = TINY_CPU.stages[stage]
    settings = tiny.settings.replace(**(changes or {}))
    if decay_every_steps is not None:
        optimizer = settings.optimizer.replace(decay_every_steps=decay_every_steps)
        settings = settings.replace(optimizer=optimizer)
    if stage == "stage3_expression":
        slower = settings.generator_optimizer.replace(decay_every_steps=_STAGE3_DECAY, decay_factor=0.4)
        settings = settings.replace(generator_optimizer=slower)
    return StageRun(settings, tiny.trainer.replace(steps=steps, **trainer))


RUN: Final = dataclasses.replace(
    TINY_CPU,
    networks="small_mesh",
    logging=TINY_CPU.logging.replace(held_out_every_steps=800, checkpoint_every_steps=250),
    stages={
        "perception": _longer("perception", 400, decay_every_steps=160),
        "stage1_motion": _longer("stage1_motion", 500),
        # All voices of the corpus are synthetic: only what such changes leave can serve real ones.
        "stage2_lip": _longer(
            "stage2_lip", 1_600, decay_every_steps=500, changes={"sound_augmentation": SoundAugmentation()}
        ),
        "stage2_eye": _longer("stage2_eye", 1_000, decay_every_steps=375),
        "stage2_pose": _longer("stage2_pose", 2_000, decay_every_steps=700),
        "stage3_expression": _longer(
            "stage3_expression",
            2_800,
            changes={
                "weights": ExpressionWeights(**_STAGE3_WEIGHTS, flow_bending=4.0, controls=1.0),
                "sound_augmentation": SoundAugmentation(),
                # Glances need longer than turns: 600 steps leave half of their gain.
                "flow_fit": TINY_CPU.stages["stage3_expression"].settings.flow_fit.replace(steps=3_000),
                "recolour": ColourJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue_turns=0.05),
                # With labels to follow, the expression has a code worth reading.
                "code_shares": CodeShares(eye=0.4, expression=0.2),
            },
            ema_decay=0.995,
        ),
    },
)
