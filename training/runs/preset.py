"""What a run preset holds: the networks, and for each stage its settings and its loop's."""

from dataclasses import dataclass
from typing import Any, Literal

from models.presets import NetworkPreset, preset_named
from training.engine.settings import Cadence, LoopSettings
from training.stages.perception import PerceptionSettings
from training.stages.stage1_motion import MotionSettings
from training.stages.stage2_eye import EyeSettings
from training.stages.stage2_lip import LipSettings
from training.stages.stage2_pose import PoseSettings
from training.stages.stage3_expression import ExpressionSettings


@dataclass(frozen=True)
class StageRun:
    """One stage in a preset."""

    settings: Any  # the stage's own dataclass, as `RunPreset` names it
    loop: LoopSettings


@dataclass(frozen=True)
class RunPreset:
    """A whole run, stage by stage."""

    networks: Literal["official", "tiny"]
    perception: PerceptionSettings
    perception_loop: LoopSettings
    stage1_motion: MotionSettings
    stage1_motion_loop: LoopSettings
    stage2_lip: LipSettings
    stage2_lip_loop: LoopSettings
    stage2_eye: EyeSettings
    stage2_eye_loop: LoopSettings
    stage2_pose: PoseSettings
    stage2_pose_loop: LoopSettings
    stage3_expression: ExpressionSettings
    stage3_expression_loop: LoopSettings
    cadence: Cadence = Cadence()

    @property
    def network_preset(self) -> NetworkPreset:
        """The networks' settings."""
        return preset_named(self.networks)

    def stage(self, name: str) -> StageRun:
        """A stage's settings and loop, by its name."""
        stages = {
            "perception": StageRun(self.perception, self.perception_loop),
            "stage1_motion": StageRun(self.stage1_motion, self.stage1_motion_loop),
            "stage2_lip": StageRun(self.stage2_lip, self.stage2_lip_loop),
            "stage2_eye": StageRun(self.stage2_eye, self.stage2_eye_loop),
            "stage2_pose": StageRun(self.stage2_pose, self.stage2_pose_loop),
            "stage3_expression": StageRun(self.stage3_expression, self.stage3_expression_loop),
        }
        return stages[name]
