"""Network presets: `official`, the released layout, 224 px; `small`, 96 px, and `tiny`, 64 px, for a CPU.

`tiny_mesh` is `tiny` with MediaPipe's networks as the motion encoder's trunk.
"""

import dataclasses
from dataclasses import dataclass
from typing import Final

from models.appearance import AppearanceConfig
from models.audio import AudioConfig
from models.discriminator import DiscriminatorConfig
from models.external.face_reconstruction import FaceReconstructionConfig
from models.external.vgg19 import VGG19Config
from models.generator import GeneratorConfig
from models.motion import MotionConfig
from models.perception import PerceptionConfig
from models.style_vector import StyleWidths
from models.trunks.landmark_trunk import LandmarkTrunkConfig
from models.trunks.mesh_trunk import MeshTrunkConfig
from models.trunks.residual_trunk import ResidualTrunkConfig


@dataclass(frozen=True)
class NetworkPreset:
    """Sizes of all networks.

    Raises:
        ValueError: the networks do not fit together.
    """

    appearance: AppearanceConfig
    motion: MotionConfig
    audio: AudioConfig
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    vgg19: VGG19Config
    perception: PerceptionConfig
    face_reconstruction: FaceReconstructionConfig

    def __post_init__(self) -> None:
        pairs = {
            "style width": (self.generator.style_width, self.style_widths.total),
            "lip width": (self.motion.lip_width, self.audio.lip_width),
            "lip feature width": (self.motion.head_width, self.audio.feature_width),
            "map channels": (self.generator.channels[0], self.appearance.map_channels),
            "map side": (self.generator.start_side_px, self.appearance.map_side_px),
            "image side of the appearance encoder": (self.image_side_px, self.appearance.trunk.image_side_px),
        }
        for name, trunk in (
            ("motion encoder", self.motion.trunk),
            ("perception network", self.perception.trunk),
        ):
            if not isinstance(trunk, MeshTrunkConfig):
                pairs[f"image side of the {name}"] = (self.image_side_px, trunk.image_side_px)
        if self.generator.appearance_path == "warp":
            pairs |= {
                "width of the appearance code": (
                    self.style_widths.appearance,
                    self.generator.appearance_width,
                ),
                "width of the motion feature": (
                    self.motion.trunk.feature_width,
                    self.generator.motion_feature_width,
                ),
            }
        mismatches = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if mismatches:
            raise ValueError(f"the networks of a preset do not fit together: {mismatches}")

    @property
    def image_side_px(self) -> int:
        """Side of input and output images."""
        return self.generator.image_side_px

    @property
    def style_widths(self) -> StyleWidths:
        """Widths of the style vector's codes."""
        return StyleWidths(
            appearance=self.appearance.trunk.output_channels,
            lip=self.motion.lip_width,
            expression=self.motion.expression_width,
            eye=self.motion.eye_width,
            pose=self.motion.pose_width,
        )


OFFICIAL: Final = NetworkPreset(
    appearance=AppearanceConfig(),
    motion=MotionConfig(),
    audio=AudioConfig(),
    generator=GeneratorConfig(),
    discriminator=DiscriminatorConfig(),
    vgg19=VGG19Config(),
    perception=PerceptionConfig(),
    face_reconstruction=FaceReconstructionConfig(),
)

TINY_TRUNK: Final = ResidualTrunkConfig(
    image_side_px=64,
    stem_channels=16,
    block_counts=(1, 1, 1, 1),
    group_count=4,
    width_per_group=32,
    # The last two stages keep the size, so that 64 px become 8 x 8 and not 2 x 2.
    stage_strides=(1, 2, 1, 1),
)
TINY_LANDMARK_TRUNK: Final = LandmarkTrunkConfig(
    image_side_px=64,
    # A narrower trunk learns head pose but not the eyes, which are eight pixels wide.
    stem_channels=24,
    middle_channels=32,
    channels=48,
    hourglass_depth=2,
    heat_map_count=32,
    summary_channels=12,
    feature_width=128,
    dropout=0.1,
)

TINY: Final = NetworkPreset(
    appearance=AppearanceConfig(trunk=TINY_TRUNK, map_channels=64, map_side_px=4),
    motion=MotionConfig(
        trunk=TINY_LANDMARK_TRUNK,
        head_width=128,
        lip_width=64,
    ),
    audio=AudioConfig(
        block_counts=(1, 1, 1, 1),
        stage_channels=(16, 32, 48, 64),
        attention_width=32,
        feature_width=128,
        lip_width=64,
    ),
    generator=GeneratorConfig(
        style_width=618,
        start_side_px=4,
        channels=(64, 64, 64, 32, 16),
        appearance_path="warp",
        appearance_width=512,
        motion_feature_width=128,
    ),
    discriminator=DiscriminatorConfig(layer_count=3, filters=16, largest_filters=64),
    vgg19=VGG19Config(block_channels=(16, 32, 48, 64, 64)),
    perception=PerceptionConfig(trunk=TINY_LANDMARK_TRUNK),
    face_reconstruction=FaceReconstructionConfig(trunk=TINY_TRUNK),
)

# Minutes of training on few people leave an alignment network of our own near a constant on new ones.
# It reads the stored crops as they are: at 64 px it hardly sees glances up and down.
TINY_MESH_TRUNK: Final = MeshTrunkConfig(image_side_px=224)
TINY_MESH: Final = dataclasses.replace(
    TINY,
    motion=dataclasses.replace(TINY.motion, trunk=TINY_MESH_TRUNK),
    generator=dataclasses.replace(TINY.generator, motion_feature_width=TINY_MESH_TRUNK.feature_width),
    perception=PerceptionConfig(trunk=TINY_MESH_TRUNK),
)

SMALL_TRUNK: Final = dataclasses.replace(TINY_TRUNK, image_side_px=96)
SMALL_LANDMARK_TRUNK: Final = dataclasses.replace(TINY_LANDMARK_TRUNK, image_side_px=96)
SMALL: Final = dataclasses.replace(
    TINY,
    appearance=AppearanceConfig(trunk=SMALL_TRUNK, map_channels=96, map_side_px=6),
    motion=dataclasses.replace(TINY.motion, trunk=SMALL_LANDMARK_TRUNK),
    generator=GeneratorConfig(
        style_width=618,
        start_side_px=6,
        channels=(96, 96, 64, 32, 16),
        appearance_path="warp",
        appearance_width=512,
        motion_feature_width=128,
    ),
    perception=PerceptionConfig(trunk=SMALL_LANDMARK_TRUNK),
    face_reconstruction=FaceReconstructionConfig(trunk=SMALL_TRUNK),
)

SMALL_MESH_TRUNK: Final = MeshTrunkConfig(image_side_px=224)
SMALL_MESH: Final = dataclasses.replace(
    SMALL,
    motion=dataclasses.replace(SMALL.motion, trunk=SMALL_MESH_TRUNK),
    generator=dataclasses.replace(SMALL.generator, motion_feature_width=SMALL_MESH_TRUNK.feature_width),
    perception=PerceptionConfig(trunk=SMALL_MESH_TRUNK),
)

OFFICIAL_WARP: Final = dataclasses.replace(
    OFFICIAL, generator=dataclasses.replace(OFFICIAL.generator, appearance_path="warp")
)

PRESETS: Final = {
    "official": OFFICIAL,
    "official_warp": OFFICIAL_WARP,
    "small": SMALL,
    "small_mesh": SMALL_MESH,
    "tiny": TINY,
    "tiny_mesh": TINY_MESH,
}


def preset_named(name: str) -> NetworkPreset:
    """The preset of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
