"""Load a talking head from a checkpoint: a training run, an exported model, or the released files."""

from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import override
from upath import UPath

from evaluation.animation.checkpoint_abilities import (
    RELEASED_NAME,
    exported_file,
    is_released,
    resolve_checkpoint,
)
from evaluation.animation.exported_model import read_exported
from evaluation.animation.eye_parts import OFFICIAL_EYE_PARTS, EyeParts, measured_parts
from evaluation.animation.postprocessing import OFFICIAL_POSTPROCESSING, Neutral, PostprocessingConfig
from evaluation.animation.request import Device, OfficialNetworkPreset
from evaluation.animation.run_weights import RunWeights, read_run
from evaluation.animation.talking_head import EncodedPortrait, FaceMotion, HeadNetworks, TalkingHead
from models.appearance import Appearance
from models.generator import Generator
from models.motion import MotionCodes, MotionEncoder
from models.official import OfficialNetworks, load_official
from models.presets import NetworkPreset, preset_named
from models.style_vector import StyleVector
from preprocessing.schema import MAXIMUM_CLIP_FRAMES
from training.engine.stage_weights import StageWeights
from training.jobs.config import STARTER_NAME
from training.stage_catalog import RENDERING_STAGE
from training.stages.codes.code_scale import CODE_SCALE_PART, CodeScale
from training.stages.encoders import FrozenEncoders
from weights.resolve import weights_path


class TrainedNetworks(HeadNetworks):
    """Networks of stages 1 to 3: frozen encoders, expression head, layers of the lip code, generator."""

    def __init__(self, networks: NetworkPreset, encoders: FrozenEncoders, stage3: StageWeights) -> None:
        super().__init__()
        self.encoders = encoders
        motion = MotionEncoder(networks.motion)
        self.expression = nn.Sequential(motion.to_emo, motion.emo_embed)
        self.lip_code = motion.mouth_embed
        self.generator = Generator(networks.generator)
        self.motion_side_px = networks.motion.trunk.image_side_px
        stage3.load_into("motion.to_emo", motion.to_emo)
        stage3.load_into("motion.emo_embed", motion.emo_embed)
        stage3.load_into("lip_code", self.lip_code)
        stage3.load_into("generator", self.generator)
        self.code_scale = CodeScale()
        stage3.load_into(CODE_SCALE_PART, self.code_scale)

    @override
    def appearance_of(self, image: Tensor, motion_image: Tensor) -> EncodedPortrait:
        appearance: Appearance = self.encoders.appearance(image)
        return EncodedPortrait(appearance.code, appearance.map, image, self.encoders.trunk(motion_image))

    @override
    def motion_of(self, motion_image: Tensor) -> FaceMotion:
        feature: Tensor = self.encoders.trunk(motion_image)
        return FaceMotion(self.encoders.pose(feature), self.encoders.eye(feature), self.expression(feature))

    @override
    def scaled(self, style: StyleVector) -> StyleVector:
        scaled: StyleVector = self.code_scale(style)
        return scaled

    @override
    def lip_of(self, mel: Tensor) -> Tensor:
        code: Tensor = self.lip_code(self.encoders.audio(mel))
        return code


class ReleasedNetworks(HeadNetworks):
    """The authors' four networks."""

    def __init__(self, networks: OfficialNetworks) -> None:
        super().__init__()
        self.appearance, self.motion = networks.appearance, networks.motion
        self.audio, self.generator = networks.audio, networks.generator
        self.motion_side_px = networks.motion.config.trunk.image_side_px

    @override
    def appearance_of(self, image: Tensor, motion_image: Tensor) -> EncodedPortrait:
        appearance: Appearance = self.appearance(image)
        motion_feature = self.motion.motion_feature(motion_image)
        return EncodedPortrait(appearance.code, appearance.map, image, motion_feature)

    @override
    def motion_of(self, motion_image: Tensor) -> FaceMotion:
        codes: MotionCodes = self.motion(motion_image)
        return FaceMotion(codes.pose, codes.eye, codes.expression)

    @override
    def lip_of(self, mel: Tensor) -> Tensor:
        code: Tensor = self.audio(mel).lip_code
        return code


def load_talking_head(
    checkpoint: str,
    root: UPath,
    device: Device = "auto",
    *,
    official_postprocessing: bool | None = None,
    neutral: Neutral | None = None,
    official_networks: OfficialNetworkPreset = "official",
) -> TalkingHead:
    """Load a talking head, ready to render.

    Args:
        checkpoint: A folder with the four released files, their name `pdfgc_official` in the list of
            pretrained weights, `starter` or another exported model (.safetensors), or the name of a training
            run; empty: run `default` if it is trained, else the starter model.
        root: Where training runs are published.
        device: auto takes the GPU if there is one.
        official_postprocessing: Whether to use `OFFICIAL_POSTPROCESSING`; None: for the released files only.
        neutral: Overrides `PostprocessingConfig.neutral`; None: does not.
        official_networks: Preset with the shapes of the released files.

    Raises:
        FileNotFoundError: a released file or an exported model is missing.
        ValueError: no such run or folder, a stage that is not trained, or weights that do not match.
    """
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda' but no CUDA device is available; use 'cpu' or 'auto'")
    checkpoint = resolve_checkpoint(root, checkpoint)
    released = is_released(checkpoint)
    postprocessing = (
        OFFICIAL_POSTPROCESSING
        if (released if official_postprocessing is None else official_postprocessing)
        else PostprocessingConfig()
    )
    if neutral is not None:
        postprocessing = postprocessing.replace(neutral=neutral)
    if released:
        folder = weights_path(checkpoint) if checkpoint == RELEASED_NAME else Path(checkpoint).expanduser()
        networks = ReleasedNetworks(load_official(folder, preset_named(official_networks)))
        return TalkingHead(
            f"released files in {folder}", networks, postprocessing, 1, OFFICIAL_EYE_PARTS, place
        )
    exported = exported_file(checkpoint)
    weights = read_run(root, checkpoint) if exported is None else read_exported(exported)
    return build_head(checkpoint_label(checkpoint), weights, place, postprocessing)


def build_head(
    name: str, weights: RunWeights, device: torch.device, postprocessing: PostprocessingConfig | None = None
) -> TalkingHead:
    """A talking head of a run's weights.

    Raises:
        ValueError: weights are missing or do not fit.
    """
    trained, eye_parts = load_run(weights)
    windows = weights.windows
    return TalkingHead(
        name,
        trained,
        postprocessing or PostprocessingConfig(),
        windows.window_frames,
        eye_parts,
        device,
        windows.window_from,
        windows.window_span_frames or MAXIMUM_CLIP_FRAMES,
    )


def checkpoint_label(checkpoint: str) -> str:
    """A run or an exported model, for messages."""
    if checkpoint == STARTER_NAME:
        return "the starter model"
    return f"run {checkpoint!r}" if exported_file(checkpoint) is None else f"exported model {checkpoint}"


def load_run(weights: RunWeights) -> tuple[TrainedNetworks, EyeParts | None]:
    """Networks of a run or of an exported model, and its eye parts.

    Raises:
        ValueError: weights are missing or do not fit.
    """
    trained = TrainedNetworks(
        weights.networks, FrozenEncoders(weights.context), weights.stages[RENDERING_STAGE]
    )
    return trained, measured_parts(weights.stages["stage2_eye"])
