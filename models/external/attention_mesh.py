"""MediaPipe's face mesh with attention as a frozen torch module: batches of faces on any device.

`face_landmark_with_attention.tflite` of the MediaPipe wheel (Apache-2.0) has three kinds of custom operators
between two plain networks, which are torch here: the trunk finds 468 points and a map of features; lips and
eyes are cut out of the map where the points are, turned upright; small networks refine them and find the
irises. The constants are those of the file and of `tensors_to_face_landmarks_with_attention.pbtxt`.

Shape letters: B samples, K cuts, N points, C channels.
"""

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.external.face_mesh import mediapipe_folder
from models.external.tflite_graph import TFLiteNetwork, read_custom_options, read_graph
from models.shapes import require_shape

FILE: Final = Path("modules/face_landmark/face_landmark_with_attention.tflite")
SIDE_PX: Final = 192  # of the network's input
MESH_POINTS: Final = 468
POINTS: Final = 478
# Tensors of the file.
IMAGE, FEATURES, MESH, FACE_FLAG = 0, 35, 186, 710
CROP_MATRICES: Final = (196, 197, 198)  # of lips, image-left eye, image-right eye
CROPS: Final = (199, 200, 201)
REFINED: Final = (697, 700, 704, 703, 707)  # lips, eyes, irises: points of a crop
CROP_OF_REFINED: Final = (0, 1, 2, 1, 2)
IRISES: Final = (range(468, 473), range(473, 478))
PX_PER_FEATURE: Final = 4.0  # of the map, 48 x 48
CROP_SIDE: Final = 16
CROP_SCALE: Final = 1.5  # of the box of its points
# The irises lie in the mean depth of these points.
EYE_CONTOURS: Final = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)


class AttentionMesh(nn.Module):
    """478 points of the face in a picture of 192 x 192 px, upright and filled by the face and a margin."""

    def __init__(self, folder: Path) -> None:
        """Load the networks.

        Args:
            folder: the installed `mediapipe` package, or a folder with the same `modules/`.

        Raises:
            FileNotFoundError: the file is missing.
        """
        super().__init__()
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: install mediapipe==0.10.21, which contains it")
        self.trunk = TFLiteNetwork(read_graph(path, [IMAGE], [MESH, FEATURES, FACE_FLAG]))
        self.heads = TFLiteNetwork(read_graph(path, CROPS, REFINED))
        options = [read_custom_options(path, tensor) for tensor in CROP_MATRICES]
        self._points = [list(map(int, each["subset_idxs"])) for each in options]
        self._ends = [(int(each["left_rotation_idx"]), int(each["right_rotation_idx"])) for each in options]
        self._refined = [*self._points, *map(list, IRISES)]
        ticks = torch.arange(CROP_SIDE) + 0.5
        y, x = torch.meshgrid(ticks, ticks, indexing="ij")
        self.register_buffer("_grid", torch.stack([x, y, torch.ones_like(x)]).flatten(1), persistent=False)

    @override
    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Find the points of faces.

        Args:
            picture: [B, 3, 192, 192] RGB in [0, 1].

        Returns:
            [B, 478, 3] px of the picture, 0 the centre of its first pixel, z with the scale of x and negative
            nearer to the camera; [B] logits, above 0 for a face.
        """
        require_shape("picture", picture, 3, SIDE_PX, SIDE_PX)
        mesh, features, flag = self.trunk(picture)
        mesh = mesh.reshape(len(picture), MESH_POINTS, 3)
        maps = torch.stack([self._to_features(mesh, cut) for cut in range(len(self._points))], dim=1)
        crops = [self._sample(features, maps[:, cut]) for cut in range(len(self._points))]
        points = torch.cat([mesh, mesh.new_empty(len(mesh), POINTS - MESH_POINTS, 3)], dim=1)
        for indices, crop, refined in zip(self._refined, CROP_OF_REFINED, self.heads(*crops), strict=True):
            # The heads count in quarters of a feature.
            linear, shift = maps[:, crop, :, :2], maps[:, crop, :, 2]
            points[:, indices, :2] = refined @ linear.transpose(1, 2) + PX_PER_FEATURE * shift[:, None]
        for iris, contour in zip(IRISES, EYE_CONTOURS, strict=True):
            points[:, list(iris), 2] = mesh[:, list(contour), 2].mean(dim=1, keepdim=True)
        return points, flag.flatten()

    def _to_features(self, mesh: Tensor, cut: int) -> Tensor:
        """[B, 2, 3] map from a cut's places to the feature map; 0 is the outer edge of the first in both."""
        plane = mesh[..., :2] / PX_PER_FEATURE
        left, right = self._ends[cut]
        across = plane[:, right] - plane[:, left]
        cosine, sine = functional.normalize(across, dim=1, eps=1e-9).unbind(dim=1)
        turn = torch.stack([cosine, -sine, sine, cosine], dim=1).reshape(-1, 2, 2)  # from upright to the map
        upright = plane[:, self._points[cut]] @ turn
        low, high = upright.amin(dim=1), upright.amax(dim=1)
        linear = turn * (CROP_SCALE / CROP_SIDE * (high - low))[:, None]
        centre = (turn @ ((low + high) / 2)[..., None])[..., 0]
        return torch.cat([linear, (centre - linear.sum(dim=2) * (CROP_SIDE / 2))[..., None]], dim=2)

    def _sample(self, features: Tensor, to_features: Tensor) -> Tensor:
        """Bilinear samples [B, C, 16, 16]; 0 beyond the centres of the map's outermost features."""
        side = features.shape[-1]
        places = (to_features @ self.get_buffer("_grid")).transpose(1, 2)  # [B, 256, 2]
        is_inside = ((places >= 0.5) & (places <= side - 0.5)).all(dim=2)
        grid = (places * (2.0 / side) - 1.0).reshape(-1, CROP_SIDE, CROP_SIDE, 2)
        samples = functional.grid_sample(features, grid, padding_mode="border", align_corners=False)
        return samples * is_inside.reshape(-1, 1, CROP_SIDE, CROP_SIDE)


def load_attention_mesh(folder: Path | None = None) -> AttentionMesh:
    """The networks of the installed MediaPipe wheel, or of a folder with its files.

    Raises:
        FileNotFoundError: MediaPipe is not installed, or the file is missing.
    """
    return AttentionMesh(folder or mediapipe_folder()).requires_grad_(requires_grad=False).eval()
