"""The motion encoder's trunk: a face alignment network, trained here or MediaPipe's as it is.

Training an alignment network needs many people. MediaPipe's face mesh and iris networks were trained on many
and lie in an installed package, so `MeshTrunk` serves runs with few people or minutes: what they read, as one
vector. It is frozen, and its weights are not part of a checkpoint.

Shape letters: B samples, S side of an image, D width of the feature.
"""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.external.face_mesh import FaceReading, load_face_mesh
from models.external.mesh_measures import EXPRESSION_DISTANCES, expression_distances, eye_measures
from models.portrait_warp import Standardise
from models.shapes import require_shape
from models.trunks.landmark_trunk import LandmarkTrunk, LandmarkTrunkConfig

LIPS: Final = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178)
BROWS: Final = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
EYES: Final = (33, 160, 159, 158, 133, 153, 145, 144, 362, 385, 386, 387, 263, 373, 374, 380)
NOSE: Final = (168, 6, 195, 5, 4, 1, 2, 98, 327)
OUTLINE: Final = (10, 338, 297, 284, 389, 454, 361, 397, 378, 152, 149, 172, 132, 234, 162, 54, 67, 109)
CHEEKS: Final = (50, 280, 205, 425)
POINTS: Final = (*LIPS, *BROWS, *EYES, *NOSE, *OUTLINE, *CHEEKS)
"""Points of the mesh that the feature contains; ours: the others hardly tell more of motion."""
GAZE_WIDTH: Final = 4
LIDS_WIDTH: Final = 2


@dataclass(frozen=True)
class MeshTrunkConfig:
    """The side of its input; everything else is given by the networks.

    It need not be that of the generated pictures: the networks read crops of any side, and at 64 px an iris
    has three pixels.
    """

    image_side_px: int = 224
    kind: Literal["mesh"] = "mesh"

    @property
    def feature_width(self) -> int:
        """D."""
        return 3 * len(POINTS) + len(EXPRESSION_DISTANCES) + GAZE_WIDTH + LIDS_WIDTH


TrunkConfig = MeshTrunkConfig | LandmarkTrunkConfig


class MeshTrunk(nn.Module):
    """What MediaPipe's networks read, standardised: places in the crop, distances, gaze and lids.

    The places tell the pose, the distances the expression whatever the pose.
    """

    def __init__(self, config: MeshTrunkConfig) -> None:
        """Load the networks.

        Raises:
            FileNotFoundError: MediaPipe is not installed.
        """
        super().__init__()
        self.config = config
        self.networks = load_face_mesh()
        self.standardise = Standardise(config.feature_width)

    @torch.no_grad()
    def measure(self, features: Tensor) -> None:
        """Standardise by the features [N, D] that the trunk gave of training frames before."""
        self.standardise.measure(features, to_unit_variance=True)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """The motion feature [B, D] of images [B, 3, S, S] of any side, RGB in [-1, 1].

        Raises:
            ValueError: the image has another shape.
        """
        require_shape("image", image, 3, *[image.shape[-1]] * 2)
        return self.feature(self.networks(image))

    def feature(self, reading: FaceReading) -> Tensor:
        """The motion feature [B, D] of what the networks read."""
        gaze, lids = eye_measures(reading)
        places = reading.mesh[:, list(POINTS)].flatten(1)
        return self.standardise(torch.cat([places, expression_distances(reading), gaze, lids], dim=1))


def build_trunk(config: TrunkConfig) -> MeshTrunk | LandmarkTrunk:
    """The trunk of a configuration."""
    return MeshTrunk(config) if isinstance(config, MeshTrunkConfig) else LandmarkTrunk(config)
