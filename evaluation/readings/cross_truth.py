"""The true pictures of cross-driven videos on a rendered corpus: a person with each control of another video.

The renderer draws the portrait's person with the lips, pose, eyes and expression that the drivers were
rendered with. The pictures are then aligned like a clip: the face mesh finds landmarks in each of them, and
`preprocessing.faces.alignment` gives the crop of these frames together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from demo_corpus.expression import FaceRig
from demo_corpus.people import PEOPLE_FILE, load_person
from demo_corpus.scene import render_cross_driven
from demo_corpus.truth import filming_camera, read_truth
from evaluation.generation.files import GeneratedVideos
from evaluation.generation.reenactment import Reenactment
from evaluation.readings.demo_truth import sources_with_truth, truth_path
from preprocessing.faces.alignment import AlignmentSettings, crop_transforms
from preprocessing.faces.mesh import FaceMesh
from preprocessing.schema import CROP_SIDE_PX

NOT_RENDERED: Final = "the true pictures are unknown: the videos are not, or no longer, a rendered corpus"


@dataclass(frozen=True)
class CrossTruth:
    """Renders the true pictures of cross videos.

    Attributes:
        generated: The videos.
        sources: Source video of each clip, beside its truth table; empty if there is no such corpus.
    """

    generated: GeneratedVideos
    sources: Mapping[str, Path]
    _people: dict[Path, FaceRig] = field(default_factory=dict)

    @property
    def missing_because(self) -> str:
        """Why there are no true pictures; empty if there are."""
        if not self.sources:
            return NOT_RENDERED
        without = [folder for folder in self._corpora() if not (folder / PEOPLE_FILE).is_file()]
        return f"no {PEOPLE_FILE} in {without[0]}: render the corpus again" if without else ""

    def crops(self, reenactment: Reenactment) -> list[NDArray[np.uint8]]:
        """Aligned pictures [224, 224, 3] RGB, one for each frame.

        Raises:
            ValueError: the corpus lacks the person, a truth ends before its clip, or no face is found.
        """
        frames, portrait = reenactment.frames, self.sources[reenactment.portrait]
        tables = {control: self._truth(key, frames) for control, key in reenactment.drivers.items()}
        camera = filming_camera(read_truth(truth_path(portrait)))
        pictures = render_cross_driven(self._person(portrait), camera, tables, range(frames))
        return align(pictures, reenactment.name)

    def _truth(self, key: str, frames: int) -> pa.Table:
        """The first rows of a clip's truth."""
        path, first_frame = truth_path(self.sources[key]), self.generated.facts.clips[key].first_frame
        table = read_truth(path)
        if len(table) < first_frame + frames:
            raise ValueError(f"{path} has {len(table)} frames, need {first_frame + frames}")
        return table.slice(first_frame, frames)

    def _corpora(self) -> list[Path]:
        return sorted({video.parent.parent for video in self.sources.values()})

    def _person(self, video: Path) -> FaceRig:
        folder = video.parent
        if folder not in self._people:
            self._people[folder] = load_person(folder.parent, folder.name)
        return self._people[folder]


def open_cross_truth(root: UPath, generated: GeneratedVideos) -> CrossTruth:
    """The true pictures of a run's cross videos, as far as the corpus is on this machine."""
    return CrossTruth(generated, sources_with_truth(root, generated))


def align(pictures: Iterable[NDArray[np.uint8]], name: str) -> list[NDArray[np.uint8]]:
    """Crops [224, 224, 3] of the frames of one clip.

    A frame without a face takes the landmarks of the one before; the first ones those of the first face.

    Raises:
        ValueError: no frame shows a face; names the video.
    """
    frames = list(pictures)
    mesh = FaceMesh(tracking=True)
    try:
        found = [mesh.find(frame) for frame in frames]
    finally:
        mesh.close()
    last = next((points for points in found if points is not None), None)
    if last is None:
        raise ValueError(f"{name}: the mesh finds no face in the true pictures")
    landmarks_px: list[NDArray[np.float32]] = []
    for points in found:
        last = last if points is None else points
        landmarks_px.append(last)
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    transforms = crop_transforms(np.stack(landmarks_px), AlignmentSettings())
    return [
        np.asarray(cv2.warpAffine(frame, transform, size, flags=cv2.INTER_LINEAR), np.uint8)
        for frame, transform in zip(frames, transforms.astype(np.float64), strict=True)
    ]
