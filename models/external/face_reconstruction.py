"""Deep3DFaceRecon's reconstruction network: the coefficients of a 3-D face, from one aligned image.

Layout of the published `net_recon` checkpoint (Deep3DFaceRecon_pytorch, MIT): a ResNet-50 backbone and
seven 1x1 convolutions. Its pose can be used without the face model.

Shape letters: B samples, D coefficients.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.shapes import require_shape
from models.trunks.residual_trunk import ResidualTrunk, ResidualTrunkConfig

FINAL_LAYER_WIDTHS = (80, 64, 80, 3, 27, 2, 1)
"""identity, expression, texture, angles, lighting, translation x y, translation z: 257 in all."""


@dataclass(frozen=True)
class FaceReconstructionConfig:
    """The backbone; the defaults are the published network's."""

    trunk: ResidualTrunkConfig = ResidualTrunkConfig()


@dataclass(frozen=True)
class FaceCoefficients:
    """The 257 outputs by name, each [B, D].

    `angles` are radians (x pitch, y yaw, z roll) with R = (Rz Ry Rx) transposed; `translation` is
    (x, y, z) in the model's unit, about 10 cm, the camera 10 units in front (focal 1015 px, centre 112 px).
    """

    identity: Tensor
    expression: Tensor
    texture: Tensor
    angles: Tensor
    lighting: Tensor
    translation: Tensor

    @classmethod
    def from_output(cls, output: Tensor) -> "FaceCoefficients":
        """Split the network's output [B, 257].

        Raises:
            ValueError: the output has another shape.
        """
        require_shape("output", output, sum(FINAL_LAYER_WIDTHS))
        identity, expression, texture, angles, lighting, across, along = torch.split(
            output, list(FINAL_LAYER_WIDTHS), dim=1
        )
        translation = torch.cat([across, along], dim=1)
        return cls(identity, expression, texture, angles, lighting, translation)


class FaceReconstruction(nn.Module):
    """ResNet-50 with seven linear outputs."""

    def __init__(self, config: FaceReconstructionConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResidualTrunk(config.trunk)
        channels = config.trunk.output_channels
        self.final_layers = nn.ModuleList(nn.Conv2d(channels, width, 1) for width in FINAL_LAYER_WIDTHS)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct faces.

        Args:
            image: [B, 3, 224, 224] RGB in [0, 1], aligned to the face model's five points.

        Returns:
            [B, 257]: identity 80, expression 64, texture 80, angles 3 at [224:227], lighting 27,
            translation 3 at [254:257]; by name with `FaceCoefficients.from_output`.

        Raises:
            ValueError: the image has another shape.
        """
        pooled = self.feature(image)[:, :, None, None]
        return torch.cat([layer(pooled) for layer in self.final_layers], dim=1).flatten(1)

    def feature(self, image: Tensor) -> Tensor:
        """The pooled feature [B, 2048], of which all coefficients are linear; arguments as `forward`."""
        side_px = self.config.trunk.image_side_px
        require_shape("image", image, 3, side_px, side_px)
        return functional.adaptive_avg_pool2d(self.backbone(image), 1).flatten(1)
