"""MediaPipe's face mesh and iris networks on aligned crops, with gradients into the image.

The networks are plain ones of the MediaPipe wheel (Apache-2.0): `face_landmark.tflite` (468 points) and
`iris_landmark.tflite` (71 points of an eye's contour and brow, 5 of the iris). Both are frozen. They read
crops of 64 px and more.

Shape letters: B samples, S side of the crop, N points.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.external.tflite_graph import TFLiteNetwork, read_graph

FACE_FILE: Final = Path("modules/face_landmark/face_landmark.tflite")
IRIS_FILE: Final = Path("modules/iris_landmark/iris_landmark.tflite")
MESH_POINTS: Final = 468
MARGIN: Final = 0.1
"""Share of the crop's side that is padded around it, since the mesh network expects a margin. Of 0 to .4 the
value with the smallest error on rendered heads (1.7 px at 224 px; 1.9 px when read at 64 px)."""
EYE_CORNERS: Final = ((33, 133), (362, 263))
"""Mesh points of the image-left and the image-right eye's corners, from image left to image right."""
EYE_BOX_SCALE: Final = 2.3  # MediaPipe's iris graph: the box around an eye's corners, enlarged
EYE_CONTOUR_POINTS: Final = 71
IRIS_POINTS: Final = 5  # the first is the centre


@dataclass(frozen=True)
class FaceReading:
    """Points in units of the crop's side, x to the right and y down.

    mesh [B, 468, 3]; score [B], a logit, above 0 for a face; contours [B, 2, 71, 2] and irises [B, 2, 5, 2]
    of the image-left and the image-right eye.
    """

    mesh: Tensor
    score: Tensor
    contours: Tensor
    irises: Tensor


class FaceMeshNetworks(nn.Module):
    """The mesh network on the crop, then the iris network on each eye."""

    def __init__(self, folder: Path) -> None:
        """Load both networks.

        Args:
            folder: the installed `mediapipe` package, or a folder with the same `modules/`.

        Raises:
            FileNotFoundError: a file is missing.
        """
        super().__init__()
        for file in (FACE_FILE, IRIS_FILE):
            if not (folder / file).is_file():
                raise FileNotFoundError(
                    f"{folder / file} is missing: install mediapipe==0.10.21, which contains it"
                )
        self.face = TFLiteNetwork(read_graph(folder / FACE_FILE))
        self.iris = TFLiteNetwork(read_graph(folder / IRIS_FILE))

    @override
    def forward(self, image: Tensor) -> FaceReading:
        """Read crops [B, 3, S, S], RGB in [-1, 1]."""
        unit = (image.float() + 1.0) / 2.0
        mesh, score = self._read_mesh(unit)
        eyes = [
            self._read_eye(unit, mesh, corners, flip)
            for corners, flip in zip(EYE_CORNERS, (False, True), strict=True)
        ]
        contours, irises = (torch.stack(points, dim=1) for points in zip(*eyes, strict=True))
        return FaceReading(mesh, score, contours, irises)

    def _read_mesh(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        margin = round(MARGIN * unit.shape[-1])
        side = self.face.input_side_px
        padded = functional.pad(unit, (margin,) * 4, mode="replicate")
        points, score = self.face(
            functional.interpolate(padded, (side, side), mode="bilinear", align_corners=False)
        )
        scale = (unit.shape[-1] + 2 * margin) / unit.shape[-1]
        points = points.reshape(len(unit), MESH_POINTS, 3) / side * scale
        offset = points.new_tensor([margin, margin, 0.0]) / unit.shape[-1]
        return points - offset, score.flatten()

    def _read_eye(
        self, unit: Tensor, mesh: Tensor, corners: tuple[int, int], flip: bool
    ) -> tuple[Tensor, Tensor]:
        """Contour [B, 71, 2] and iris [B, 5, 2] of an eye; one side is mirrored for the network."""
        # Where the box lies is no path for gradients: the points in it are.
        start, end = (mesh[:, corner, :2].detach() for corner in corners)
        half_axis = (end - start) / 2.0 * EYE_BOX_SCALE
        if flip:
            half_axis = -half_axis
        centre = (start + end) / 2.0
        across = half_axis * (-1.0 if flip else 1.0)
        down = torch.stack([-across[:, 1], across[:, 0]], dim=1)
        # Columns of an affine map from the eye's box in [-1, 1]² to the crop in [0, 1]².
        to_crop = torch.stack([half_axis, down], dim=2)
        theta = torch.cat([to_crop * 2.0, (centre * 2.0 - 1.0)[:, :, None]], dim=2)
        side = self.iris.input_side_px
        grid = functional.affine_grid(theta, [len(unit), 3, side, side], align_corners=False)
        eye = functional.grid_sample(unit, grid, padding_mode="border", align_corners=False)
        contour, iris = self.iris(eye)
        return tuple(
            (points.reshape(len(unit), -1, 3)[..., :2] / side * 2.0 - 1.0) @ to_crop.transpose(1, 2)
            + centre[:, None]
            for points in (contour, iris)
        )


def mediapipe_folder() -> Path:
    """The installed MediaPipe package, which is not imported.

    Raises:
        FileNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "mediapipe is not installed: pip install mediapipe==0.10.21, or name a folder"
        )
    return Path(spec.origin).parent


def load_face_mesh(folder: Path | None = None) -> FaceMeshNetworks:
    """The networks of the installed MediaPipe wheel, or of a folder with its files.

    Raises:
        FileNotFoundError: MediaPipe is not installed, or a file is missing.
    """
    networks = FaceMeshNetworks(folder or mediapipe_folder()).requires_grad_(requires_grad=False)
    return networks.eval()
