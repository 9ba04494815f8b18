"""Derive the mean face `preprocessing/faces/shape/mean_face_478.csv` from videos and stills of many people.

    python scripts/derive_mean_face.py --videos FOLDER... --out preprocessing/faces/shape/mean_face_478.csv

A folder holds one sub-folder per person, or files named `person__anything`. The portraits that
scikit-image and insightface contain are added. Every person has the same weight.

1. MediaPipe FaceMesh on up to 40 frames a person, scaled to a common eye distance.
2. First shape: the mesh's 3-D points, aligned to each other and averaged. Mirror vertices are
   those that coincide when the mean is mirrored; the result is checked to be its own inverse.
3. The mesh's depth is biased towards a frontal face, so it is refined by alternating least
   squares in perspective: poses from the rigid points of every frame, then each person's vertices
   from all frames' image points (held near the mean face), then the mean of all persons, made
   symmetric (its depth held near the first one where too few heads turn). Vertices that deform
   take part only in neutral frames: mouth nearly shut, eyes open.
4. Placing: iris 1.17 cm wide; pitch by Deep3DFaceRecon's five model points; eyeballs; origin.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from mediapipe.python.solutions.face_detection import FaceDetection
from mediapipe.python.solutions.face_mesh import FaceMesh
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from preprocessing.faces.shape import landmark_groups as groups
from preprocessing.faces.shape.frame_of_reference import CROP_CENTRE_PX, CROP_FOCAL_PX, REFERENCE_DISTANCE_CM
from preprocessing.faces.shape.geometry import fit_similarity
from preprocessing.faces.shape.mean_face import EYEBALL_IRIS_RADIUS_CM, IRIS_DIAMETER_CM
from preprocessing.labellers.pose_deep3d import MODEL_POINTS
from preprocessing.labellers.pose_mean_face import PoseSettings, fit_rigid_points
from preprocessing.media.container import VIDEO_SUFFIXES

Array = NDArray[np.float64]

FRAMES_PER_PERSON: Final = 40
VIDEOS_PER_PERSON: Final = 3
STILL_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
EYE_DISTANCE_PX: Final = 50.0  # of the official alignment, so that residuals are crop pixels
EYE_DISTANCE_CM: Final = 6.2  # working scale only; the iris sets the final one
MIRROR: Final = np.array([-1.0, 1.0, 1.0])
OUTER_ITERATIONS: Final = 40
PERSON_PULL: Final = 1.0  # towards the mean face, in frames' worth of image points a frame has 60
DEPTH_PULL: Final = 0.1  # of the mean face's depth towards the mesh's own, in persons' worth
RIGID: Final = list(groups.RIGID_POINTS)
DEEP3D_POINTS_CM: Final = 10.0 * np.array(MODEL_POINTS)  # the model's unit is about 10 cm
DEEP3D_NOSE_TIP: Final = 1  # fits its nose point to 1 mm; vertex 4, the other candidate, to 3 mm
# The iris's plane, as a camera sees it, 0.28 cm in front of the midpoint of the eye's corners: what
# the mesh's own depth says, and what anatomy does (front of the cornea about 1 cm in front of the
# outer corner, which lies 0.34 cm behind that midpoint; the iris 0.3 cm deeper than the cornea).
# The mesh puts irises below where the picture shows them: by .12 of the iris's radius in the median of
# 14 real clips of ten people (-.05 to .32), measured with `preprocessing.faces.iris_refinement`.
IRISES_LIE_LOW_CM: Final = 0.07
IRIS_BEFORE_CORNERS_CM: Final = 0.28


# --- 1. landmarks -----------------------------------------------------------------------------------


def pictures_by_person(folders: list[Path]) -> dict[str, list[Path]]:
    """Files of every person, at most three videos each."""
    files: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in VIDEO_SUFFIXES | STILL_SUFFIXES:
                person = path.parent.name if path.parent != folder else path.stem.split("__")[0]
                files.setdefault(person, []).append(path)
    return {person: paths[:VIDEOS_PER_PERSON] for person, paths in files.items()}


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture [H, W, 3]; ValueError where it cannot be read."""
    picture: Any = cv2.imread(str(path))  # None where unreadable, which the stubs do not know
    if picture is None:
        raise ValueError(f"{path} is not a picture that OpenCV can read")
    return np.asarray(picture[..., ::-1], np.uint8).copy()


def frames_of(path: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    """Up to `count` RGB frames, evenly spread; a still gives one."""
    if path.suffix.lower() in STILL_SUFFIXES:
        yield read_rgb(path)
        return
    capture = cv2.VideoCapture(str(path))
    stride = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // count)
    index = 0
    while capture.grab():
        if index % stride == 0:
            yield np.asarray(capture.retrieve()[1][..., ::-1], np.uint8).copy()
        index += 1


class LandmarkReader:
    """Detection, then FaceMesh on an enlarged square around each face, also for small faces."""

    def __init__(self) -> None:
        self._detector = FaceDetection(model_selection=1, min_detection_confidence=0.5)
        self._mesh = FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)

    def read(self, picture: NDArray[np.uint8]) -> list[Array]:
        """[478, 3] landmarks in pixels of the picture, one array a face, largest first."""
        height, width = picture.shape[:2]
        detected: Any = self._detector.process(picture)  # a tuple type made when run
        boxes = sorted(
            (d.location_data.relative_bounding_box for d in detected.detections or []), key=lambda b: -b.width
        )
        faces: list[Array] = []
        for box in boxes:
            side = 2.2 * max(box.width * width, box.height * height)
            corner = np.array([box.xmin + box.width / 2, box.ymin + box.height / 2])
            corner = corner * [width, height] - side / 2
            pixels = int(np.clip(side, 256, 512))
            to_square = (pixels / side) * np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]])
            square = cv2.warpAffine(picture, to_square, (pixels, pixels), flags=cv2.INTER_LINEAR)
            meshed: Any = self._mesh.process(square)
            if meshed.multi_face_landmarks:
                points = np.array([[p.x, p.y, p.z] for p in meshed.multi_face_landmarks[0].landmark]) * side
                faces.append(points + np.array([corner[0], corner[1], 0.0]))
        return faces


def packaged_portraits(reader: LandmarkReader) -> dict[str, Array]:
    """Faces in pictures of installed packages."""
    import insightface
    import skimage.data

    images = Path(insightface.__file__).parent / "data" / "images"
    pictures = {"astronaut": skimage.data.astronaut()}
    for name in ("t1.jpg", "Tom_Hanks_54745.png"):
        pictures[name] = read_rgb(images / name)
    return {
        f"{name} {number}": face[None]
        for name, picture in pictures.items()
        for number, face in enumerate(reader.read(picture))
    }


def gather_faces(folders: list[Path]) -> dict[str, Array]:
    """Landmarks [n, 478, 3] of every person, centred and scaled as the crop has them."""
    reader = LandmarkReader()
    faces = packaged_portraits(reader)
    for person, paths in pictures_by_person(folders).items():
        count = FRAMES_PER_PERSON // len(paths)
        detections = [reader.read(frame)[:1] for path in paths for frame in frames_of(path, count)]
        rows = [faces_in_frame[0] for faces_in_frame in detections if faces_in_frame]
        if rows:
            faces[person] = np.stack(rows)
        print(f"{person}: {len(rows)} faces", flush=True)
    return {person: to_common_scale(landmarks) for person, landmarks in faces.items()}


def to_common_scale(landmarks: Array) -> Array:
    """Landmarks [n, 478, 3] with eyes 50 px apart (in 3-D, so that a turned head keeps its size)."""
    left, right = (landmarks[:, list(c)].mean(1) for c in eye_corners())
    scaled = landmarks * (EYE_DISTANCE_PX / np.linalg.norm(left - right, axis=-1))[:, None, None]
    scaled[..., :2] += CROP_CENTRE_PX - scaled[..., :2].mean(1, keepdims=True)
    return scaled


def eye_corners() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Corner indices of the image-left and the image-right eye."""
    return groups.IMAGE_LEFT_EYE_CORNERS, groups.IMAGE_RIGHT_EYE_CORNERS


# --- 2. first shape and mirror ----------------------------------------------------------------------


def average_meshes(faces: dict[str, Array]) -> Array:
    """Mean of the meshes' own 3-D points (y up, z towards the camera), all people with equal weight."""
    meshes = {
        person: np.stack([f[..., 0] - CROP_CENTRE_PX, CROP_CENTRE_PX - f[..., 1], -f[..., 2]], axis=-1)
        for person, f in faces.items()
    }
    mean = max(meshes.values(), key=len)[0]
    for _ in range(3):
        mean = np.mean(
            [
                np.mean([fit_similarity(mesh, mean).apply(mesh) for mesh in rows], axis=0)
                for rows in meshes.values()
            ],
            axis=0,
        )
    return mean - mean.mean(0)


def find_mirror(mean: Array) -> NDArray[np.int64]:
    """Index of each vertex's mirror vertex: the one that matches it in the aligned mirrored face."""
    moved = mean * MIRROR
    pairs = np.arange(len(mean))
    for _ in range(20):
        squared = ((mean[:, None] - moved[None]) ** 2).sum(-1)
        pairs = linear_sum_assignment(squared)[1]
        moved = fit_similarity((mean * MIRROR)[pairs], mean).apply(mean * MIRROR)
    if not np.array_equal(pairs[pairs], np.arange(len(mean))):
        raise ValueError("mirror pairs are not their own inverse, need more or more frontal faces")
    return pairs


def make_symmetric(shape: Array, mirror: NDArray[np.int64]) -> Array:
    """Rotate the face into its plane of symmetry, then average it with its mirror image."""
    for _ in range(5):
        shape = shape - shape.mean(0)
        half_turn = (
            Rotation.from_matrix(fit_similarity((shape * MIRROR)[mirror], shape).rotation).as_rotvec() / 2
        )
        shape = shape @ Rotation.from_rotvec(half_turn).as_matrix()
    shape = shape - shape.mean(0)
    return (shape + (shape * MIRROR)[mirror]) / 2


# --- 3. depth from turned heads ---------------------------------------------------------------------


def neutral_weights(landmarks: Array) -> Array:
    """[n, 478] 1 where a vertex counts; deforming ones only in frames of a neutral face."""
    gap = np.linalg.norm(landmarks[:, 13, :2] - landmarks[:, 14, :2], axis=-1)
    lids = sum(
        np.linalg.norm(landmarks[:, u, :2] - landmarks[:, v, :2], axis=-1)
        for u, v in ((159, 145), (386, 374))
    )
    neutral = (gap <= np.percentile(gap, 40)) & (lids >= np.percentile(lids, 40))
    if not neutral.any():
        neutral = gap <= gap.min()
    weights = np.repeat(neutral[:, None].astype(np.float64), landmarks.shape[1], axis=1)
    weights[:, RIGID] = 1.0
    return weights


def solve_person(shape: Array, mean: Array, landmarks: Array) -> tuple[Array, Array]:
    """A person's vertices [478, 3] from all their frames, and the rigid points' residuals [n, P] px."""
    fit = fit_rigid_points(shape[RIGID], landmarks[:, RIGID, :2], PoseSettings(huber_px=3.0))
    turn, move = fit.rotation, fit.translation_cm
    across, up = landmarks[..., 0] - CROP_CENTRE_PX, CROP_CENTRE_PX - landmarks[..., 1]
    to_origin = REFERENCE_DISTANCE_CM - move[:, 2:]
    depth = to_origin - turn[:, 2] @ shape.T
    rows = np.stack(
        [
            CROP_FOCAL_PX * turn[:, None, 0] + across[..., None] * turn[:, None, 2],
            CROP_FOCAL_PX * turn[:, None, 1] + up[..., None] * turn[:, None, 2],
        ],
        axis=2,
    )
    rows = rows / depth[..., None, None]
    seen = np.stack(
        [across * to_origin - CROP_FOCAL_PX * move[:, :1], up * to_origin - CROP_FOCAL_PX * move[:, 1:2]],
        axis=2,
    )
    seen = seen / depth[..., None]
    weights = neutral_weights(landmarks)
    weights = weights / weights.sum(0)
    normal = np.einsum("tp,tpki,tpkj->pij", weights, rows, rows, optimize=True) + PERSON_PULL * np.eye(3)
    right = np.einsum("tp,tpki,tpk->pi", weights, rows, seen, optimize=True) + PERSON_PULL * mean
    solved = np.linalg.solve(normal, right[..., None])[..., 0]
    return fit_similarity(solved[RIGID], mean[RIGID]).apply(solved), fit.residual_px


def refine_depth(first: Array, mirror: NDArray[np.int64], faces: dict[str, Array]) -> Array:
    """Alternate poses, persons' shapes and the mean face; print the residuals."""
    mean, shapes = first, dict.fromkeys(faces, first)
    residuals: dict[str, Array] = {}
    for iteration in range(OUTER_ITERATIONS):
        for person, landmarks in faces.items():
            shapes[person], residuals[person] = solve_person(shapes[person], mean, landmarks)
        pooled = np.mean(list(shapes.values()), axis=0)
        pooled[:, 2] = (pooled[:, 2] + DEPTH_PULL * first[:, 2]) / (1 + DEPTH_PULL)
        pooled = make_symmetric(pooled, mirror)
        pooled = make_symmetric(fit_similarity(pooled[RIGID], first[RIGID]).apply(pooled), mirror)
        change, mean = np.abs(pooled - mean).max(), pooled
        if iteration % 5 == 0 or iteration == OUTER_ITERATIONS - 1:
            rms = np.mean([np.sqrt(np.mean(r**2)) for r in residuals.values()])
            print(f"iteration {iteration}: rigid points {rms:.3f} px rms, change {change:.4f} cm", flush=True)
    return mean


# --- 4. placing -------------------------------------------------------------------------------------


def place(shape: Array, mirror: NDArray[np.int64]) -> tuple[Array, Array]:
    """Scale by the iris, pitch by Deep3D's points, eyeballs, origin: vertices [478, 3], eyeballs [2, 3]."""
    left_iris = groups.IMAGE_LEFT_IRIS
    shape = shape * (IRIS_DIAMETER_CM / np.linalg.norm(shape[left_iris[1]] - shape[left_iris[3]]))
    corners = np.stack([shape[list(c)].mean(0) for c in eye_corners()])
    five = np.concatenate([corners, shape[[DEEP3D_NOSE_TIP]], shape[list(groups.MOUTH_CORNERS)]])
    symmetric = (DEEP3D_POINTS_CM + (DEEP3D_POINTS_CM * MIRROR)[[1, 0, 2, 4, 3]]) / 2
    fit = fit_similarity(five, symmetric)
    pitch = np.degrees(Rotation.from_matrix(fit.rotation).as_rotvec()[0])
    worst = np.linalg.norm(fit.apply(five) - symmetric, axis=1).max()
    print(f"Deep3D's five points: turned by {pitch:.2f} deg, its scale {fit.scale:.3f}, worst {worst:.2f} cm")
    shape = shape @ fit.rotation.T
    eyeballs = np.stack([shape[list(c)].mean(0) for c in eye_corners()])
    eyeballs[:, :2] = shape[[left_iris[0], groups.IMAGE_RIGHT_IRIS[0]], :2]
    eyeballs[:, 1] += IRISES_LIE_LOW_CM
    eyeballs[:, 2] += IRIS_BEFORE_CORNERS_CM - EYEBALL_IRIS_RADIUS_CM
    origin = eyeballs.mean(0) * [0.0, 1.0, 1.0]
    shape, eyeballs = np.round(shape - origin, 4), np.round(eyeballs - origin, 4)
    shape = np.where((np.arange(len(shape)) <= mirror)[:, None], shape, (shape * MIRROR)[mirror])
    shape[mirror == np.arange(len(shape)), 0] = 0.0
    eyeballs[1] = eyeballs[0] * MIRROR
    print(f"pupils {2 * eyeballs[1, 0]:.2f} cm apart")
    return shape, eyeballs


def write_table(path: Path, shape: Array, eyeballs: Array, mirror: NDArray[np.int64], header: str) -> None:
    """The committed text table: 478 vertices, then the two eyeball centres as rows 478 and 479."""
    rows = [(i, *xyz, int(mirror[i])) for i, xyz in enumerate(shape.tolist())]
    rows += [
        (len(shape), *eyeballs[0].tolist(), len(shape) + 1),
        (len(shape) + 1, *eyeballs[1].tolist(), len(shape)),
    ]
    lines = [f"{i},{x:.4f},{y:.4f},{z:.4f},{m}".replace("-0.0000", "0.0000") for i, x, y, z, m in rows]
    path.write_text(f"# {header}\n# index,x_cm,y_cm,z_cm,mirror\n" + "\n".join(lines) + "\n")


def main() -> None:
    """Derive and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    faces = gather_faces(arguments.videos)
    count = sum(len(landmarks) for landmarks in faces.values())
    header = (
        f"mean of {len(faces)} persons ({count} faces), each weighing the same; scripts/derive_mean_face.py"
    )
    print(header)
    first = average_meshes(faces)
    mirror = find_mirror(first)
    first = make_symmetric(first, mirror)
    left, right = (first[list(c)].mean(0) for c in eye_corners())
    first = first * (EYE_DISTANCE_CM / np.linalg.norm(left - right))
    shape, eyeballs = place(refine_depth(first, mirror, faces), mirror)
    write_table(arguments.out, shape, eyeballs, mirror, header)


if __name__ == "__main__":
    os.environ.setdefault("GLOG_minloglevel", "2")
    main()
