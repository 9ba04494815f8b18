"""One video's frames in, candidate clips out: shots, tracks, continuity, and what no clip may hold."""

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from preprocessing.faces.candidates import Candidate, CandidateCutter
from preprocessing.faces.continuity import DISSOLVE_FRAMES, FaceContinuity
from preprocessing.faces.tflite.mesh import face_logit
from preprocessing.faces.tracking import FaceTracker, TrackedFace
from preprocessing.media.decoding import VideoFrame
from preprocessing.media.shots import ShotDetector

DAMAGED: Final = "damaged_pictures"
DISSOLVE: Final = "dissolve"
NOT_UPRIGHT: Final = "not_upright"


class CandidateCollector:
    """Takes the frames of one video and returns candidates as soon as they are complete.

    Args:
        shots, tracker, continuity, cutter: made for this video.

    Attributes:
        frames: added so far.
        damaged_frames: those among them that an error in the file may have smeared.
    """

    def __init__(
        self,
        shots: ShotDetector,
        tracker: FaceTracker,
        continuity: FaceContinuity,
        cutter: CandidateCutter,
    ) -> None:
        self._detector, self._tracker, self._continuity, self._cutter = shots, tracker, continuity, cutter
        self._shot = 0
        self._frame_size = (0, 0)
        self._after_dissolve = 0
        self.frames = 0
        self.damaged_frames = 0

    @property
    def shots(self) -> int:
        """Shots so far."""
        return self._shot + (self.frames > 0)

    def add(self, frame: VideoFrame, *, begins_shot: bool = False) -> list[Candidate]:
        """Add the next frame of the 25 fps grid.

        Args:
            frame: the frame.
            begins_shot: it does not follow the one before it, whatever it shows.
        """
        done: list[Candidate] = []
        is_cut = self._detector.begins_shot(frame.picture) or frame.begins_part or begins_shot
        views = [] if is_cut else self._tracker.step(frame.picture)
        if is_cut or self._continuity.is_broken(frame.picture, views):
            done += self._end_faded([])
            done += self._begin_shot()
            views = self._tracker.step(frame.picture)
        else:
            done += self._end_faded(views)
        self._frame_size = (frame.picture.shape[0], frame.picture.shape[1])  # it may change with the shot
        repeated = self._continuity.add(frame.picture, views)
        self._after_dissolve = max(0, self._after_dissolve - 1)
        refused = DAMAGED if frame.is_damaged else DISSOLVE if self._after_dissolve else ""
        done += self._cutter.add(
            frame.index,
            self._shot,
            views,
            self._frame_size,
            refused=refused,
            repeated=repeated,
            unread_face_px=self._tracker.unread_face_px,
        )
        self.frames += 1
        self.damaged_frames += frame.is_damaged
        if self._continuity.is_dissolve():
            done += self._begin_shot(refused_frames=DISSOLVE_FRAMES)
            self._after_dissolve = DISSOLVE_FRAMES
        return self._upright(done)

    def finish(self) -> list[Candidate]:
        """End the last shot."""
        return self._upright(self._cutter.finish(self._frame_size))

    def _end_faded(self, views: list[TrackedFace]) -> list[Candidate]:
        """End the tracks that have faded and do not go on in the next frame, without their last frames."""
        done: list[Candidate] = []
        for track in self._continuity.faded(views):
            done += self._cutter.end_track(track, self._frame_size, DISSOLVE_FRAMES, DISSOLVE)
            if not views:  # what comes next may be mixed with it
                self._after_dissolve = DISSOLVE_FRAMES
        return done

    def _begin_shot(self, refused_frames: int = 0) -> list[Candidate]:
        self._shot += self.frames > 0
        self._tracker.begin_shot()
        self._continuity.begin_shot()
        return self._cutter.finish(self._frame_size, refused_frames=refused_frames, refused=DISSOLVE)

    def _upright(self, candidates: list[Candidate]) -> list[Candidate]:
        return [refuse_unless_upright(candidate) for candidate in candidates]


def refuse_unless_upright(candidate: Candidate) -> Candidate:
    """Drop the pictures of a candidate whose crop is more of a face when it is turned upside down.

    The mesh puts lips and brows on a face upside down as well; how sure it is of a face tells them apart.

    Args:
        candidate: aligned by its landmarks, so that the face should be upright.
    """
    if not candidate.frames_jpeg:
        return candidate
    middle = np.frombuffer(candidate.frames_jpeg[len(candidate.frames_jpeg) // 2], np.uint8)
    crop = np.asarray(cv2.cvtColor(cv2.imdecode(middle, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
    if face_logit(np.ascontiguousarray(crop[::-1, ::-1])) > face_logit(crop):
        return replace(candidate, frames_jpeg=(), refused=NOT_UPRIGHT)
    return candidate
