"""CSIM: does the video show the portrait's person, by the cosine of ArcFace's features.

The network is an ONNX file that the user gives, of InsightFace's recognition models (`w600k_r50.onnx` of the
pack `buffalo_l`; their packs are for non-commercial research), run by insightface on the CPU; nothing is
downloaded. Faces are aligned as ArcFace was trained, by the similarity of five points to its template, but
the points are MediaPipe's (iris centres, nose tip, mouth corners), not RetinaFace's: the figures
compare with each other, and only roughly with the literature's.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.pictures.batches import Pictures
from evaluation.records import MetricRecord
from preprocessing.labellers.arcface_alignment import FACE_SIDE_PX, aligned_face
from preprocessing.labellers.networks import ONNX_HELP, check_onnx

NAME: Final = "csim_insightface"
MISSING: Final = (
    "no ArcFace weights: pdfgc weights fetch buffalo_l (InsightFace's pack, for non-commercial research), "
    "and give buffalo_l as the CSIM weights"
)


class ArcFace:
    """Faces to features.

    Args:
        weights: An ONNX recognition model, [n, 3, 112, 112] -> [n, D].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ONNX model, or one of another input.
    """

    def __init__(self, weights: Path) -> None:
        self._model = _open_model(weights)
        with weights.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()

    def feature(self, picture: NDArray[np.uint8], landmarks_px: NDArray[np.float32]) -> NDArray[np.float64]:
        """[D], of length one, of a picture [S, S, 3] RGB with landmarks as `csim_insightface_row`."""
        face = aligned_face(picture, landmarks_px)
        found = np.asarray(self._model.get_feat(np.ascontiguousarray(face[..., ::-1])), np.float64)[0]
        return found / np.linalg.norm(found)


def load_arcface(weights: Path | None) -> ArcFace | None:
    """ArcFace of a file; None of no file.

    Raises:
        FileNotFoundError: a file is named and is not there.
        ValueError: as `ArcFace`.
    """
    return None if weights is None else ArcFace(weights)


def csim_insightface_row(
    pictures: Pictures,
    landmarks_px: Iterable[NDArray[np.float32]],
    portrait: tuple[NDArray[np.uint8], NDArray[np.float32]],
    network: ArcFace | None,
    *,
    task: str,
    method: str,
    video: str,
) -> MetricRecord:
    """`csim_insightface` of one video: the mean cosine of its faces and the portrait's, -1 to 1.

    Args:
        pictures: Each uint8 [S, S, 3] RGB of any S.
        landmarks_px: Of each picture [478, 2 or 3], in px of the picture resized to 224; NaN where no face
            was found: that picture does not count.
        portrait: Its picture and landmarks, likewise.
        network: None: the row is missing, with what to give.
        task: For the row.
        method: For the row.
        video: For the row.

    Returns:
        Missing where the portrait or every picture has no face.

    Raises:
        ValueError: pictures and landmarks differ in number.
    """
    if network is None:
        return MetricRecord(NAME, task, method, NAME, video, None, "", "higher", MISSING)
    scorer = f"{NAME}:{network.digest[:8]}"
    if not np.isfinite(portrait[1]).all():
        return MetricRecord(NAME, task, method, scorer, video, None, "", "higher", "no face in the portrait")
    wanted = network.feature(*portrait)
    values = [
        float(network.feature(picture, points) @ wanted)
        for picture, points in zip(pictures, landmarks_px, strict=True)
        if np.isfinite(points).all()
    ]
    if not values:
        return MetricRecord(NAME, task, method, scorer, video, None, "", "higher", "no face in any picture")
    return MetricRecord(NAME, task, method, scorer, video, float(np.mean(values)), "", "higher")


def _open_model(weights: Path) -> Any:
    """The recognition model of a file, on the CPU."""
    import onnxruntime
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    check_onnx(weights)
    session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    if (outputs := len(session.get_outputs())) != 1:
        raise ValueError(
            f"{weights}: a recognition model has one output, this has {outputs}; need w600k_r50.onnx: "
            f"{ONNX_HELP}"
        )
    model = ArcFaceONNX(str(weights), session=session)
    if tuple(model.input_size) != (FACE_SIDE_PX, FACE_SIDE_PX):
        raise ValueError(f"{weights} takes faces of {model.input_size}, need {FACE_SIDE_PX} px; {ONNX_HELP}")
    return model
