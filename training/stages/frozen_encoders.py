"""All that stages 1 and 2 left for stage 3: encoders that say who, how it moves and what is heard."""

from torch import nn

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.motion import MotionEncoder
from training.stages.stage import Frozen, StageContext


class FrozenEncoders(nn.Module):
    """E_app, the trunk of E_mot and its lip, eye and pose heads, and E_aud, none of which trains any more.

    appearance: picture -> `Appearance`; trunk: picture -> unified motion feature [B, 512];
    lip: motion feature -> lip feature [B, 512]; eye: -> code [B, 6]; pose: -> code [B, 6];
    audio: mel window [B, 1, 80, 20] -> lip feature [B, 512].
    """

    def __init__(self, context: StageContext) -> None:
        super().__init__()
        networks, parents = context.networks, context.parents
        appearance, motion = AppearanceEncoder(networks.appearance), MotionEncoder(networks.motion)
        audio = AudioEncoder(networks.audio)
        parents["stage1_motion"].load_into("appearance", appearance)
        parents["stage1_motion"].load_into("motion.model", motion.model)
        parents["stage2_lip"].load_into("motion.to_mouth", motion.to_mouth)
        parents["stage2_lip"].load_into("audio.model", audio.model)
        for part in ("to_eye", "eye_embed"):
            parents["stage2_eye"].load_into(f"motion.{part}", motion.get_submodule(part))
        for part in ("to_headpose", "headpose_embed"):
            parents["stage2_pose"].load_into(f"motion.{part}", motion.get_submodule(part))
        self.appearance = Frozen(appearance)
        self.trunk = Frozen(motion.model)
        self.lip = Frozen(motion.to_mouth)
        self.eye = Frozen(nn.Sequential(motion.to_eye, motion.eye_embed))
        self.pose = Frozen(nn.Sequential(motion.to_headpose, motion.headpose_embed))
        self.audio = Frozen(audio.model)
