"""Every metric of a list's videos: the tables of `evaluation.metrics.table`, by the protocols of a run.

Baselines as there: copying the portrait (else the truth's first frame), copying the pose driver; the truth of
self-reenactment. Matrix: rows whose controls different files drove.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evaluation.controls import CONTROLS, Control
from evaluation.metrics import table
from evaluation.metrics.control.following import ControlReference
from evaluation.metrics.control.matrix import FollowedVideo, control_follow
from evaluation.metrics.lip_sync.distance import LipSyncScorer, NotScored, Score
from evaluation.metrics.metric import MeasuredVideo, Metric
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo
from evaluation.readings.face import FaceReadings
from evaluation.readings.measures import AnyReadings
from evaluation.records import ALL_VIDEOS, COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, MetricRecord
from evaluation.referee.listing import RefereeRow, RefusedRowError
from evaluation.referee.reading import MediaPictures, MediaReader, Picture, has_pictures
from evaluation.suites.control import ControlTable
from evaluation.suites.lip_sync import score_pictures
from preprocessing.schema import SAMPLES_PER_FRAME

logger = logging.getLogger(__name__)

NO_TRUTH: Final = "no truth in the list"
NO_LIP_VIDEO: Final = "no pictures of the lip driver and no truth in the list"


@dataclass(frozen=True)
class RowMedia:
    """What a row's files show, all from frame 0.

    Attributes:
        row: The row.
        generated: The video, T frames.
        truth: Its first T frames; None if unknown.
        portrait: One picture; None if unknown.
        drivers: Of pictures, by control, stills held for T frames.
        sound: [n] of the lip driver, else of the video; None if there is none.
    """

    row: RefereeRow
    generated: MediaPictures
    truth: MediaPictures | None
    portrait: Picture | None
    drivers: Mapping[Control, MediaPictures]
    sound: NDArray[np.float32] | None = field(repr=False)

    @cached_property
    def outputs(self) -> dict[str, MediaPictures]:
        """Pictures by method."""
        frames = len(self.generated.pictures)
        outputs = {MODEL: self.generated}
        if self.row.task == "self":
            assert self.truth is not None  # so the row's task says
            outputs[GROUND_TRUTH] = self.truth
        if self.portrait is not None:
            outputs[COPY_PORTRAIT] = MediaPictures([self.portrait], np.ones(1, np.bool_), True).held(frames)
        if "pose" in self.drivers:
            outputs[COPY_TARGET] = _cut(self.drivers["pose"], frames)
        return outputs


def read_row(row: RefereeRow, reader: MediaReader) -> RowMedia:
    """Read a row's files.

    Raises:
        RefusedRowError: one of them cannot be used.
    """
    generated = reader.pictures("generated", row.generated)
    if generated.is_still:
        raise RefusedRowError("generated", f"{row.generated} is a picture; name a video")
    truth = None if row.truth is None else reader.pictures("truth", row.truth)
    frames = len(generated.pictures)
    if truth is not None:
        frames = min(frames, len(truth.pictures))
        generated, truth = _cut(generated, frames), _cut(truth, frames)
    drivers: dict[Control, MediaPictures] = {}
    for control in CONTROLS:
        part = row.drivers.get(control)
        if part is not None and (control != "lip" or has_pictures(part, reader.limited)):
            drivers[control] = reader.pictures(control, part).held(frames)
        elif row.task == "self":
            assert truth is not None  # so the row's task says
            drivers[control] = truth
    portrait = None
    if row.portrait is not None:
        portrait = reader.pictures("portrait", row.portrait).pictures[0]
    elif truth is not None and row.task == "self":
        portrait = truth.pictures[0]
    lip = row.drivers.get("lip")
    sound = reader.sound(row.generated if lip is None else lip)
    if lip is not None and sound is None and "lip" not in drivers:
        raise RefusedRowError("lip", f"{lip} has neither pictures nor sound; replace it, or leave it empty")
    return RowMedia(row, generated, truth, portrait, drivers, sound)


def _cut(media: MediaPictures, frames: int) -> MediaPictures:
    return replace(media, pictures=media.pictures[:frames], found=media.found[:frames])


@dataclass
class Measured:
    """Grows row by row.

    Attributes:
        control: Records of following, matrix cells.
        lip_sync, quality: Records of the other suites.
        followed: By scorer and method, what the matrix is made of.
    """

    control: ControlTable = field(default_factory=ControlTable)
    lip_sync: list[MetricRecord] = field(default_factory=list)
    quality: list[MetricRecord] = field(default_factory=list)
    followed: dict[tuple[str, str], list[FollowedVideo[Any]]] = field(default_factory=dict)


class RowMeasurer:
    """Measures one row after the other.

    Args:
        reader: Of the files.
        scorers: Protocol -> scorer of lip sync.
        metrics: Table -> its metrics that are ready: `face`, `blendshape`, `quality`, `lip_sync`.
        mesh, landmarker: Scorers' names of the face mesh and of the FaceLandmarker.
    """

    def __init__(
        self,
        reader: MediaReader,
        scorers: Mapping[str, LipSyncScorer],
        metrics: Mapping[str, Sequence[Metric[Any, Any]]],
        mesh: str,
        landmarker: str,
    ) -> None:
        self.measured = Measured()
        self._reader, self._scorers, self._metrics = reader, scorers, metrics
        self._mesh, self._landmarker = mesh, landmarker
        # For metrics over all rows; their pictures stay in memory, .1 MiB a frame and method.
        self._sets: list[RowMedia] | None = None
        if any(metric.over_all_videos for metric in metrics["quality"]):
            self._sets = []
        self._scores: dict[str, list[tuple[Score, Score]]] = {}

    def add(self, media: RowMedia) -> None:
        """Measure a row."""
        readings = self._face_readings(media)
        self._follow(media, readings, [*self._metrics["face"], *table.LANDMARK_METRICS], self._mesh)
        if self._metrics["blendshape"]:
            shapes = {name: self._reader.blendshapes(one) for name, one in _named(media)}
            self._follow(media, shapes, self._metrics["blendshape"], self._landmarker)
        self._measure_pictures(media)
        for protocol, scorer in self._scorers.items():
            self._measure_lips(media, protocol, scorer)
        if media.row.task == "self" and self._sets is not None:
            self._sets.append(media)

    def finish(self) -> Measured:
        """Add what is measured over all rows."""
        for (scorer, method), videos in self.measured.followed.items():
            self.measured.control.add_matrix(control_follow(videos), "cross", method, scorer)
        for metric in self._metrics["quality"]:
            if metric.over_all_videos and self._sets:
                self.measured.quality += list(self._over_sets(metric, self._sets))
        self._add_overall_lips()
        return self.measured

    def _face_readings(self, media: RowMedia) -> dict[str, FaceReadings]:
        """By the names of `_named`; how open eyes are is relative to the true video if it is known."""
        levels = None if media.truth is None else self._reader.readings(media.truth).levels
        own, read = (MODEL, COPY_PORTRAIT), dict[tuple[int, bool], FaceReadings]()
        readings: dict[str, FaceReadings] = {}
        for name, one in _named(media):
            key = (id(one.pictures), name in own)  # the truth may be several drivers
            if key not in read:
                read[key] = self._reader.readings(one, levels if name in own else None)
            readings[name] = read[key]
        return readings

    def _follow(
        self,
        media: RowMedia,
        readings: Mapping[str, AnyReadings],
        metrics: Sequence[Metric[Any, Any]],
        scorer: str,
    ) -> None:
        row, measured = media.row, self.measured
        drivers: dict[Control, AnyReadings] = {
            control: readings[f"drives {control}"] for control in media.drivers
        }
        reference = ControlReference(drivers, readings.get(GROUND_TRUTH))
        for method in media.outputs:
            video = MeasuredVideo(row.task, method, scorer, row.name)
            for metric in metrics:
                measured.control.records += metric.records([(video, readings[method], reference)])
            if row.task == "cross" and drivers:
                followed = FollowedVideo(readings[method], drivers, row.name)
                measured.followed.setdefault((scorer, method), []).append(followed)

    def _measure_pictures(self, media: RowMedia) -> None:
        row = media.row
        videos = {
            method: PictureVideo(one.pictures, self._reader.landmarks)
            for method, one in media.outputs.items()
        }
        portrait = None
        if media.portrait is not None:
            portrait = PictureVideo([media.portrait], self._reader.landmarks)
        truth = None if media.truth is None else PictureVideo(media.truth.pictures, self._reader.landmarks)
        of_self, of_cross = (truth, None) if row.task == "self" else (None, truth)
        for metric in self._metrics["quality"]:
            if metric.over_all_videos or (portrait is None and metric.name.startswith("csim")):
                continue
            reference = PictureReference(portrait or videos[MODEL], of_self, of_cross, NO_TRUTH)
            for method, video in videos.items():
                if _longer_than_truth(video, truth):
                    continue
                measured = MeasuredVideo(row.task, method, metric.scorer, row.name)
                self.measured.quality += metric.records([(measured, video, reference)])

    def _measure_lips(self, media: RowMedia, protocol: str, scorer: LipSyncScorer) -> None:
        row, frames = media.row, len(media.generated.pictures)
        reference = media.drivers.get("lip")
        truth: Score = NotScored(scorer.name, protocol, "no_truth", NO_LIP_VIDEO)
        scores: dict[str, Score] = {}
        for method, one in media.outputs.items():
            scores[method] = _score(one, media.sound, scorer, protocol)
        if reference is not None and not reference.is_still:
            truth = _score(_cut(reference, frames), media.sound, scorer, protocol)
        for metric in self._metrics["lip_sync"]:
            if metric.protocol != protocol or metric.over_all_videos:
                continue
            for method, score in scores.items():
                video = MeasuredVideo(row.task, method, scorer.name, row.name)
                self.measured.lip_sync += metric.records([(video, score, truth)])
        self._scores.setdefault(f"{row.task} {protocol}", []).append((scores[MODEL], truth))

    def _add_overall_lips(self) -> None:
        for name, pairs in self._scores.items():
            task, _, protocol = name.partition(" ")
            generated, truths = [score for score, _ in pairs], [truth for _, truth in pairs]
            for metric in self._metrics["lip_sync"]:
                if metric.protocol == protocol and metric.over_all_videos:
                    known = "self" if task == "self" else "cross"
                    video = MeasuredVideo(known, MODEL, self._scorers[protocol].name, ALL_VIDEOS)
                    self.measured.lip_sync += metric.records([(video, generated, truths)])

    def _over_sets(self, metric: Metric[Any, Any], sets: Sequence[RowMedia]) -> Iterator[MetricRecord]:
        frames = sum(len(media.generated.pictures) for media in sets)
        for method in (MODEL, COPY_PORTRAIT):
            video = MeasuredVideo("self", method, metric.scorer, f"{frames} pictures against {frames}")
            pictures = (p for media in sets for p in media.outputs[method].pictures)
            truths = (p for media in sets for p in media.outputs[GROUND_TRUTH].pictures)
            yield from metric.records([(video, pictures, truths)])


def _named(media: RowMedia) -> Iterator[tuple[str, MediaPictures]]:
    """Everything of a row that shows a face: methods, then drivers as `drives <control>`."""
    yield from media.outputs.items()
    for control, driver in media.drivers.items():
        yield f"drives {control}", driver


def _longer_than_truth(video: PictureVideo, truth: PictureVideo | None) -> bool:
    """Whether a method's video cannot be compared frame by frame: a pose driver of another length."""
    return truth is not None and len(video.pictures) != len(truth.pictures)


def _score(
    media: MediaPictures, sound: NDArray[np.float32] | None, scorer: LipSyncScorer, protocol: str
) -> Score:
    if sound is None:
        return NotScored(scorer.name, protocol, "no_sound", "neither the lip driver nor the video has sound")
    return score_pictures(media.pictures, sound[: len(media.pictures) * SAMPLES_PER_FRAME], scorer, protocol)
