"""The stages by name: adding one adds a line here, one in `training.jobs.config` and one in the presets."""

from collections.abc import Mapping
from typing import Any, Final

from training.stages.perception import PerceptionStage
from training.stages.stage import Stage, StageContext
from training.stages.stage1_motion import MotionStage
from training.stages.stage2_eye import EyeStage
from training.stages.stage2_lip import LipStage
from training.stages.stage2_pose import PoseStage
from training.stages.stage3_expression import ExpressionStage

_STAGES: Final[Mapping[str, type[Any]]] = {
    kind.name: kind for kind in (PerceptionStage, MotionStage, LipStage, EyeStage, PoseStage, ExpressionStage)
}


def build_stage(name: str, context: StageContext, settings: Any) -> Stage[Any]:
    """The stage of that name.

    Args:
        name: one of `training.jobs.config.STAGE_NAMES`.
        settings: the stage's own dataclass.
        context: networks and parents' weights.
    """
    return _STAGES[name](context, settings)


def stage_version(name: str) -> str:
    """The version of a stage's code."""
    return str(_STAGES[name].version)
