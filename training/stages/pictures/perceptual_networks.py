"""The frozen networks φ, ψ and 𝒢 of the losses.

MediaPipe's face mesh and iris networks by default, which are part of an installed package; the stage
`perception`'s where asked for; pretrained networks where configured.

Pretrained networks see the crop as they were trained to see faces. A crop of mode `official` puts the clip's
eyes and mouth in fixed places, so a fixed square of it approximates each network's own alignment, up to how a
head differs from the mean head and moves within its clip. The squares are what the networks' alignments give
for the mean face (`mean_face_478.csv`) at pose zero in that crop; the test of this file derives them. Real
and generated frames are cropped alike, so errors cancel in part. Crops of mode `square` show smaller faces,
for which these squares are off by as much.

Shape letters: B samples, S side of an image.
"""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.external.emonet import EmoNet, Emotion, load_emonet
from models.external.face_mesh import FaceMeshNetworks, FaceReading, load_face_mesh
from models.external.face_reconstruction import FaceReconstruction
from models.external.l2cs import L2CS, load_l2cs
from models.external.mesh_measures import expression_distances, eye_measures
from models.external.vgg19 import IMAGENET_DEVIATION, IMAGENET_MEAN
from models.official import load_face_reconstruction
from models.perception import Perceived, PerceptionNetwork
from preprocessing.schema import CROP_SIDE_PX
from training.stages.stage import PretrainedFiles, StageContext


@dataclass(frozen=True)
class CropSquare:
    """A square of the crop, in px of the 224 px crop from its top left corner; may reach beyond it.

    Raises:
        ValueError: the side is not positive.
    """

    left_px: float
    top_px: float
    side_px: float

    def __post_init__(self) -> None:
        if not self.side_px > 0:
            raise ValueError(f"side_px must be > 0, got {self}")


DEEP3D_SQUARE: Final = CropSquare(left_px=2.0, top_px=-11.7, side_px=221.8)
"""Deep3DFaceRecon: five points aligned to its model's five, the model's origin in the middle, its unit 102 of
224 px. Nearly the whole crop, a twentieth higher."""
L2CS_SQUARE: Final = CropSquare(left_px=29.0, top_px=20.6, side_px=167.2)
"""L2CS-Net: the face box of a detector. Ours: from the top of the forehead in the mesh to the chin, made
square; how the boxes of its training were cut is not published."""
EMONET_SQUARE: Final = CropSquare(left_px=-13.0, top_px=-7.4, side_px=251.1)
"""EmoNet: (width + height) / 1.1 of the box around 68 landmarks, about its centre."""


def crop_square(image: Tensor, square: CropSquare, side_px: int) -> Tensor:
    """Cut a square out of images and resize it.

    Args:
        image: [B, 3, S, S] RGB in [-1, 1], the whole crop at any resolution.
        square: which part.
        side_px: of the result.

    Returns:
        [B, 3, side_px, side_px] float32 RGB in [0, 1], bilinear; black beyond the crop. Differentiable.
    """
    zoom = square.side_px / CROP_SIDE_PX
    right = (square.left_px * 2 + square.side_px) / CROP_SIDE_PX - 1  # of the square's centre, in -1 to 1
    down = (square.top_px * 2 + square.side_px) / CROP_SIDE_PX - 1
    affine = torch.tensor([[zoom, 0.0, right], [0.0, zoom, down]], device=image.device)
    grid = functional.affine_grid(
        affine.expand(len(image), 2, 3), [len(image), 3, side_px, side_px], align_corners=False
    )
    # In [0, 1] black is 0, which is what `grid_sample` pads with.
    unit = (image.float() + 1) / 2
    return functional.grid_sample(unit, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


FaceReader = Literal["mediapipe", "perception"]
"""Which network gives φ, ψ and gaze where no pretrained one is configured."""

NOSE_TIP: Final = 1
CHEEKS: Final = (234, 454)  # the face's edges at the height of the ears, image left and right


@dataclass(frozen=True)
class PerceptualFeatures:
    """What the losses compare images by.

    phi [B, P]: φ, where the face's points are, or features of a 3-D face reconstruction; psi [B, Q]: ψ, its
    expression without its pose, or features of an emotion network; gaze [B, G]: 𝒢 (MediaPipe: iris centres
    from the eyes' middles in eye widths, 4 values; perception: pitch and yaw in rad relative to the head;
    L2CS-Net: relative to the camera); lids [B, 2]: MediaPipe: opening in eye widths; perception: 0 open,
    1 shut; yaw [B]: the head's turn, for held-out metrics, in units of the reader.
    """

    phi: Tensor
    psi: Tensor
    gaze: Tensor
    lids: Tensor
    yaw: Tensor


class PerceptionReader(nn.Module):
    """Features of the network that the stage `perception` trained."""

    def __init__(self, perception: PerceptionNetwork) -> None:
        super().__init__()
        self.perception = perception

    @override
    def forward(self, image: Tensor) -> PerceptualFeatures:
        """Features of crops [B, 3, S, S], RGB in [-1, 1]."""
        perceived: Perceived = self.perception(image)
        return PerceptualFeatures(
            perceived.feature,
            perceived.shape_feature,
            perceived.gaze,
            perceived.blink,
            perceived.pose[:, 1],
        )


class MeshReader(nn.Module):
    """Features of MediaPipe's face mesh and iris networks."""

    def __init__(self, networks: FaceMeshNetworks) -> None:
        super().__init__()
        self.networks = networks

    @override
    def forward(self, image: Tensor) -> PerceptualFeatures:
        """Features of crops [B, 3, S, S], RGB in [-1, 1]."""
        return self.features(self.networks(image))

    def features(self, reading: FaceReading) -> PerceptualFeatures:
        """Features of what the networks read.

        ψ consists of distances between points in space, so turning and moving the head leaves it unchanged.
        """
        gaze, lids = eye_measures(reading)
        nose, cheeks = reading.mesh[:, NOSE_TIP, 0], reading.mesh[:, list(CHEEKS), 0]
        yaw = (nose - cheeks.mean(dim=1)) / (cheeks[:, 1] - cheeks[:, 0])
        return PerceptualFeatures(reading.mesh.flatten(1), expression_distances(reading), gaze, lids, yaw)


class PerceptualNetworks(nn.Module):
    """A face reader, replaced by pretrained networks where they are given.

    Reading: φ is Deep3DFaceRecon's pooled feature [B, 2048], of which all its coefficients are linear
    functions; the paper says "features" only. ψ is EmoNet's feature [B, 256].
    """

    def __init__(
        self,
        reader: MeshReader | PerceptionReader,
        reconstruction: FaceReconstruction | None = None,
        emotion: EmoNet | None = None,
        gaze: L2CS | None = None,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.reconstruction = reconstruction
        self.emotion = emotion
        self.gaze = gaze
        self.mean = nn.Buffer(torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.deviation = nn.Buffer(torch.tensor(IMAGENET_DEVIATION)[:, None, None], persistent=False)

    @override
    def forward(self, image: Tensor, reading: FaceReading | None = None) -> PerceptualFeatures:
        """Features of crops [B, 3, S, S], RGB in [-1, 1], S the preset's.

        `reading`: of the same crops by the face mesh, where it has been read already; a `MeshReader` only.
        """
        if reading is not None and isinstance(self.reader, MeshReader):
            read = self.reader.features(reading)
        else:
            read = self.reader(image)
        phi, psi, gaze = read.phi, read.psi, read.gaze
        if self.reconstruction is not None:
            side_px = self.reconstruction.config.trunk.image_side_px
            phi = self.reconstruction.feature(crop_square(image, DEEP3D_SQUARE, side_px))
        if self.emotion is not None:
            face = crop_square(image, EMONET_SQUARE, self.emotion.config.image_side_px)
            emotion: Emotion = self.emotion(face)
            psi = emotion.feature
        if self.gaze is not None:
            face = crop_square(image, L2CS_SQUARE, self.gaze.config.image_side_px)
            gaze = self.gaze((face - self.mean) / self.deviation)
        return PerceptualFeatures(phi, psi, gaze, read.lids, read.yaw)


def build_perceptual_networks(context: StageContext, face_reader: FaceReader) -> PerceptualNetworks:
    """The face reader of that name, and the pretrained networks that are configured.

    Raises:
        FileNotFoundError: MediaPipe is not installed.
        ValueError: perception's weights do not fit the preset's network, or a file is another network's.
    """
    reader: MeshReader | PerceptionReader
    if face_reader == "mediapipe":
        reader = MeshReader(load_face_mesh())
    else:
        perception = PerceptionNetwork(context.networks.perception)
        context.parents["perception"].load_into("perception", perception)
        reader = PerceptionReader(perception)
    return PerceptualNetworks(reader, *_load_pretrained(context.pretrained))


def _load_pretrained(files: PretrainedFiles) -> tuple[FaceReconstruction | None, EmoNet | None, L2CS | None]:
    # Restores the random state, so that trained networks start the same with and without these.
    with torch.random.fork_rng(devices=[]):
        return (
            None if files.deep3d is None else load_face_reconstruction(files.deep3d),
            None if files.emonet is None else load_emonet(files.emonet),
            None if files.l2cs is None else load_l2cs(files.l2cs),
        )
