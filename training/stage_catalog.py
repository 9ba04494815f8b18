"""The training stages, one row each. Imports no torch.

A stage is a row here and a module `training/stages/<name>.py` whose `STAGE` is the stage's class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FACES: Final = "faces"
"""The label that names the face detector: it decides every stage's crops."""

RELEASED_SETTING: Final = "start_from"
"""Setting of `TrainingConfig` that names initial networks: the released ones, or an exported model."""

APPEARANCE_SETTING: Final = "appearance_weights"
"""Setting of `TrainingConfig` that names initial weights of the appearance encoder's trunk."""

EYE_AXES_PART: Final = "eye_axes"
"""Part of stage2_eye's weights that separates gaze from blinks."""

_PICTURE_LOSSES: Final = ("vgg19_weights", "deep3d_weights", "emonet_weights")


@dataclass(frozen=True)
class StageInfo:
    """One stage.

    Attributes:
        name: of the stage, its asset and its module in `training/stages/`.
        description: shown in Dagster.
        parents: stages whose weights it starts from.
        labels: labels that it reads of the data set (none reads `lip_sync`); each from one labeller.
        pretrained: settings of `TrainingConfig` that name pretrained weights and are part of its recipe.
        renders: its generator is the one that `evaluation` and `pdfgc animate` use. The last such row counts.
    """

    name: str
    description: str
    parents: tuple[str, ...] = ()
    labels: tuple[str, ...] = (FACES,)
    pretrained: tuple[str, ...] = ()
    renders: bool = False


_ROWS: Final = (
    StageInfo(
        "perception",
        "A small network that predicts landmarks, pose, gaze and blinks, trained on the shards' labels. "
        "It initialises the motion encoder's trunk, and reads faces in the losses if face_reader names it.",
        labels=(FACES, "pose", "gaze", "blink"),
    ),
    StageInfo(
        "stage1_motion",
        "Appearance encoder, unified motion feature and first generator, by self-reenactment: one frame of "
        "a clip drives another.",
        parents=("perception",),
        labels=(FACES, "pose", "gaze", "blink"),  # they choose its pairs of frames
        pretrained=(*_PICTURE_LOSSES, APPEARANCE_SETTING, RELEASED_SETTING),
    ),
    StageInfo(
        "stage2_lip",
        "The lip code: contrastive learning between frames and the speech heard with them.",
        parents=("stage1_motion",),
        pretrained=(RELEASED_SETTING,),
    ),
    StageInfo(
        "stage2_eye",
        "The eye code: contrastive learning on pairs of images that share only the eyes.",
        parents=("stage1_motion",),
        labels=(FACES, "pose", "gaze", "blink"),  # its anchors are chosen and verified by all three
        pretrained=(RELEASED_SETTING,),
    ),
    StageInfo(
        "stage2_pose",
        "The pose code: regression of head rotation and translation.",
        parents=("stage1_motion",),
        labels=(FACES, "pose"),
        pretrained=(RELEASED_SETTING,),
    ),
    StageInfo(
        "stage3_expression",
        "The expression code, decorrelated from speech, and the final generator.",
        parents=("perception", "stage1_motion", "stage2_lip", "stage2_eye", "stage2_pose"),
        labels=(FACES, "pose", "gaze", "blink"),  # as stage 1
        pretrained=(*_PICTURE_LOSSES, "l2cs_weights", RELEASED_SETTING),
        renders=True,
    ),
)

STAGES: Final[Mapping[str, StageInfo]] = {row.name: row for row in _ROWS}
"""By name, in an order in which they can be trained: parents first."""

STAGE_NAMES: Final = tuple(STAGES)

RENDERING_STAGE: Final = next(row.name for row in reversed(_ROWS) if row.renders)
"""The stage whose generator evaluation and `pdfgc animate` use."""


def stage_info(name: str) -> StageInfo:
    """The row of a stage.

    Raises:
        ValueError: there is no stage of that name.
    """
    if name not in STAGES:
        raise ValueError(f"no stage {name!r}; there are {', '.join(STAGE_NAMES)}")
    return STAGES[name]
