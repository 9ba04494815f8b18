"""LSE by the protocol `track`: crops of one tracked face.

Crops are computed as in the published program, the face boxes are not: they come from MediaPipe's full-range
detector in every frame (`preprocessing.faces.mesh.FaceDetector`) and PySceneDetect's cuts. Its boxes are
square and as high as the face mesh, forehead to chin, within 8 % (seven real clips), so that the unit of the
crop, half the longer side, is the height of the face as in the published program. Boxes of two detectors
never agree to the pixel, so values compare with each other and only roughly with the literature. Nothing is
encoded in between, where the published program writes JPEG and MPEG-4.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.lip_sync.distance import LipSyncScore, LipSyncScorer, NotScored, score_embeddings
from evaluation.metrics.lip_sync.face_crops import (
    FaceBox,
    FaceTrack,
    TrackProtocol,
    crop_squares,
    cut_face,
    link_boxes,
)
from preprocessing.faces.mesh import FaceDetector
from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, decode_sound, open_video
from preprocessing.media.shots import ShotDetector, ShotSettings
from preprocessing.schema import SAMPLES_PER_FRAME

PROTOCOL: Final = "track"


def score_face_track(video: Path, scorer: LipSyncScorer) -> LipSyncScore | NotScored:
    """Score a video by the crops of its longest face track, at 25 fps and 16 kHz.

    Only one track is scored: the longest, among equals that of the larger face. The pictures are read twice,
    first for the boxes.

    Returns:
        `NotScored` if there is no face, no track that is long and large enough (`too_short`, `too_small`), no
        sound, or no readable video.
    """
    protocol = TrackProtocol()
    try:
        track = choose_track(find_tracks(video, protocol), protocol)
        squares = crop_squares(track, protocol)
        embedded = scorer.embed_frames(read_crops(video, track.first_frame, squares, protocol))
        sound = decode_sound(video, DecodeSettings())
    except RefusedVideo as refusal:
        return NotScored(scorer.name, PROTOCOL, refusal.reason, refusal.detail)
    heard = scorer.embed_sound(
        sound[track.first_frame * SAMPLES_PER_FRAME : track.end_frame * SAMPLES_PER_FRAME]
    )
    return score_embeddings(scorer.name, PROTOCOL, embedded, heard)


def find_tracks(video: Path, protocol: TrackProtocol) -> list[FaceTrack]:
    """All face tracks of a video, including short ones; none crosses a cut.

    Raises:
        RefusedVideo: as `open_video`.
    """
    shots: list[list[FaceBox]] = [[]]
    cuts = ShotDetector(ShotSettings())
    detector = FaceDetector(protocol.detection_confidence)
    try:
        with open_video(video, DecodeSettings()) as decoded:
            for frame in decoded:
                if cuts.begins_shot(frame.image):
                    shots.append([])
                boxes = detector.find(frame.image)[:, :4].astype(np.float64)
                shots[-1] += [FaceBox(frame.index, edges) for edges in boxes]
    finally:
        detector.close()
    return [track for boxes in shots for track in link_boxes(boxes, protocol)]


def choose_track(tracks: list[FaceTrack], protocol: TrackProtocol) -> FaceTrack:
    """The longest track that is long and large enough for the protocol.

    Raises:
        RefusedVideo: `no_face`, `too_short` or `too_small`.
    """
    if not tracks:
        raise RefusedVideo("no_face", "no face was found in any frame")
    longest = max(tracks, key=lambda track: (track.detections, track.face_px))
    if longest.detections < protocol.minimum_track_frames:
        need = protocol.minimum_track_frames
        raise RefusedVideo(
            "too_short", f"the longest face track has {longest.detections} frames, need {need}"
        )
    long = [track for track in tracks if track.detections >= protocol.minimum_track_frames]
    large = [track for track in long if track.face_px > protocol.minimum_face_px]
    if not large:
        largest = max(track.face_px for track in long)
        need_px = protocol.minimum_face_px
        raise RefusedVideo(
            "too_small", f"the face is {largest:.0f} px large, need more than {need_px:.0f} px"
        )
    return max(large, key=lambda track: (track.detections, track.face_px))


def read_crops(
    video: Path, first_frame: int, squares: NDArray[np.int64], protocol: TrackProtocol
) -> Iterator[NDArray[np.uint8]]:
    """The crops [224, 224, 3] RGB of a track, in order.

    Args:
        video: Read up to the end of the track.
        first_frame: Of the track, on the 25 fps grid.
        squares: [F, 4] of `crop_squares`.
        protocol: Has the grey beyond the picture.

    Raises:
        RefusedVideo: as `open_video`.
    """
    with open_video(video, DecodeSettings()) as decoded:
        for frame in decoded:
            place = frame.index - first_frame
            if place >= len(squares):
                return
            if place >= 0:
                yield cut_face(frame.image, squares[place], protocol)
