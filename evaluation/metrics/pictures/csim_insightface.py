"""CSIM: does the video show the portrait's person, by the cosine of ArcFace features.

The network is an ONNX recognition model of InsightFace (`w600k_r50.onnx` of the pack `buffalo_l`; their packs
are for non-commercial research), run by insightface on the CPU. Faces are aligned as ArcFace was trained, by
the similarity of five points to its template. The points are MediaPipe's (iris centres, nose tip, mouth
corners), not RetinaFace's, so values compare with each other and only roughly with the literature.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.metric import Measurement, Metric, MetricWeights
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo
from preprocessing.labellers.arcface_alignment import FACE_SIDE_PX, aligned_face
from preprocessing.labellers.networks import ONNX_HELP, check_onnx


class ArcFace:
    """Faces to features.

    Args:
        weights: An ONNX recognition model, [n, 3, 112, 112] -> [n, D].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ONNX model, or its input has another size.
    """

    def __init__(self, weights: Path) -> None:
        self._model = _open_model(weights)

    def feature(self, picture: NDArray[np.uint8], landmarks_px: NDArray[np.float32]) -> NDArray[np.float64]:
        """Feature [D] of length one.

        Args:
            picture: [S, S, 3] RGB.
            landmarks_px: [478, 2 or 3] in px of the picture resized to 224.
        """
        face = aligned_face(picture, landmarks_px)
        feature = np.asarray(self._model.get_feat(np.ascontiguousarray(face[..., ::-1])), np.float64)[0]
        return feature / np.linalg.norm(feature)


def load_csim(weights: Path) -> Callable[[PictureVideo, PictureReference], Measurement]:
    """`measure_csim` with the network of a file. Raises as `ArcFace`."""
    network = ArcFace(weights)

    def measure(generated: PictureVideo, reference: PictureReference) -> Measurement:
        return measure_csim(generated, reference, network)

    return measure


def measure_csim(generated: PictureVideo, reference: PictureReference, network: ArcFace) -> Measurement:
    """Mean cosine of the video's faces and the portrait's, -1 to 1.

    Pictures without a face are left out. Missing if the portrait or every picture has no face.

    Raises:
        ValueError: pictures and landmarks differ in number.
    """
    portrait = reference.portrait
    if not np.isfinite(portrait.landmarks_px[0]).all():
        return Measurement(None, "no face in the portrait")
    identity = network.feature(portrait.pictures[0], portrait.landmarks_px[0])
    values = [
        float(network.feature(picture, points) @ identity)
        for picture, points in zip(generated.pictures, generated.landmarks_px, strict=True)
        if np.isfinite(points).all()
    ]
    return Measurement(float(np.mean(values))) if values else Measurement(None, "no face in any picture")


CSIM_INSIGHTFACE: Final = Metric(
    "csim_insightface",
    protocol="MediaPipe's five points, mean over frames with a face",
    unit="",
    direction="higher",
    load=load_csim,
    weights=MetricWeights("buffalo_l", "csim_weights"),
    scorer="csim_insightface",
)


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
