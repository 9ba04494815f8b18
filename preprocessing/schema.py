"""The contract of preprocessing and training: the contents of one clip and of one training sample.

The step `clips` makes a `Clip`: at most 64 aligned frames of one person in one shot, with its sound cut to
the sample. The label steps add `ClipLabels`, the step `eye_anchors` adds `EyeAnchor`s; a `ClipSample` is all
of them, one WebDataset sample. Every dataclass validates itself when built: shapes, ranges and lengths. Only
`preprocessing.shards` encodes and decodes them.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION: Final = (
    2  # 2: loudness of the whole video, and its sound beyond the clip, in the mel features
)
FRAMES_PER_SECOND: Final = 25
SAMPLE_RATE_HZ: Final = 16_000
SAMPLES_PER_FRAME: Final = SAMPLE_RATE_HZ // FRAMES_PER_SECOND  # 640
MAXIMUM_CLIP_FRAMES: Final = 64
CROP_SIDE_PX: Final = 224  # of the aligned, square frames
LANDMARK_COUNT: Final = 478  # MediaPipe face mesh with attention and irises
MEL_BANDS: Final = 80
# What the windows of 20 mel rows of a clip's first and last frame reach: 2400 samples before, 1280 after.
FRAMES_BEFORE: Final = 4
FRAMES_AFTER: Final = 2
MEL_ROWS_BEFORE: Final = 8  # rows of `mel` before the clip's first
COEFFICIENT_COUNT: Final = 257  # Deep3DFaceRecon
BLENDSHAPE_COUNT: Final = 52  # MediaPipe's FaceLandmarker
INDEX_TABLE: Final = "index.parquet"  # of a data set: a row for each sample
STATISTICS_NAME: Final = "statistics.json"  # of a data set
KEY_PATTERN: Final = re.compile(r"[a-z0-9_-]+")  # no dot: WebDataset ends the key at the first dot


@dataclass(frozen=True)
class ClipSource:
    """Where a clip comes from; enough to cut it from the source again."""

    video_id: str  # first 16 hex digits of the source's sha256
    relative_path: str  # below the scanned folder, forward slashes
    track: int  # face track number within the video
    first_frame: int  # on the 25 fps grid of the conformed video
    crop_mode: str  # "official" or "square"
    crop_transforms: NDArray[np.float32] = field(repr=False)  # [T, 2, 3] source px -> crop px

    def __post_init__(self) -> None:
        if self.track < 0 or self.first_frame < 0:
            raise ValueError(
                f"{self.video_id}: track and first frame must be >= 0, got {self.track}, {self.first_frame}"
            )


@dataclass(frozen=True)
class VideoSound:
    """The sound of a clip's video around the clip; silence beyond the video's ends."""

    before: NDArray[np.float32] = field(repr=False)  # [4 * 640] up to the clip's first frame
    after: NDArray[np.float32] = field(repr=False)  # [2 * 640] after its last
    loudness: float  # root mean square of the whole video's sound

    def __post_init__(self) -> None:
        check_array("video sound", "before", self.before, (FRAMES_BEFORE * SAMPLES_PER_FRAME,), bound=1.0)
        check_array("video sound", "after", self.after, (FRAMES_AFTER * SAMPLES_PER_FRAME,), bound=1.0)
        if not 0.0 <= self.loudness <= 1.0:
            raise ValueError(f"video sound: loudness must be 0 to 1, got {self.loudness}")

    def around(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """[(4 + T + 2) * 640] a clip's sound [T * 640] with what is before and after it."""
        return np.concatenate([self.before, sound, self.after])


@dataclass(frozen=True)
class Clip:
    """At most 64 aligned frames of one person in one shot, 25 fps, with their 16 kHz sound."""

    key: str
    identity: str
    source: ClipSource
    frames_jpeg: tuple[bytes, ...] = field(repr=False)  # T JPEG files, 224 x 224 RGB
    landmarks_px: NDArray[np.float32] = field(repr=False)  # [T, 478, 3] crop px; z < 0 nearer
    sound: NDArray[np.float32] = field(repr=False)  # [T * 640] mono in [-1, 1]
    video_sound: VideoSound = field(repr=False)
    scores: dict[str, float] = field(default_factory=dict)  # of the step `clips`, by name
    speech: NDArray[np.float32] | None = field(default=None, repr=False)  # [T] probability, 0 to 1
    annotations: dict[str, Any] = field(default_factory=dict)  # of a list: emotion, language, licence, others

    def __post_init__(self) -> None:
        if not KEY_PATTERN.fullmatch(self.key):
            raise ValueError(f"clip key {self.key!r} must match {KEY_PATTERN.pattern}")
        frames = self.frame_count
        if not 1 <= frames <= MAXIMUM_CLIP_FRAMES:
            raise ValueError(f"{self.key}: {frames} frames, need 1 to {MAXIMUM_CLIP_FRAMES}")
        check_array(self.key, "landmarks_px", self.landmarks_px, (frames, LANDMARK_COUNT, 3))
        check_array(self.key, "sound", self.sound, (frames * SAMPLES_PER_FRAME,), bound=1.0)
        check_array(self.key, "crop_transforms", self.source.crop_transforms, (frames, 2, 3))
        if self.speech is not None:
            check_array(self.key, "speech", self.speech, (frames,), bound=1.0)
        for name, score in self.scores.items():
            if not math.isfinite(score):
                raise ValueError(f"{self.key}: score {name} must be finite, got {score}")

    @property
    def frame_count(self) -> int:
        """T, the number of frames."""
        return len(self.frames_jpeg)


@dataclass(frozen=True)
class ClipLabels:
    """Labels of a clip, one row a frame, in the frame of `preprocessing.faces.shape.frame_of_reference`."""

    pose: NDArray[np.float32] = field(repr=False)  # [T, 6] pitch, yaw, roll rad; x, y, z cm
    gaze: NDArray[np.float32] = field(repr=False)  # [T, 2] pitch, yaw rad, head coordinates
    blink: NDArray[np.float32] = field(repr=False)  # [T, 2] image-left eye, image-right eye; 0 open, 1 shut
    lip_sync: dict[str, float]  # scores by name; {} where the clip was not scored
    labellers: dict[str, str]  # label -> "backend version", with the digest of pretrained weights
    coefficients: NDArray[np.float32] | None = field(default=None, repr=False)  # [T, 257] Deep3D
    blendshapes: NDArray[np.float32] | None = field(default=None, repr=False)  # [T, 52] 0 to 1; NaN: no face

    def __post_init__(self) -> None:
        frames = len(self.pose)
        check_array("labels", "pose", self.pose, (frames, 6))
        check_array("labels", "pose angles", self.pose[:, :3], (frames, 3), bound=np.pi)
        check_array("labels", "gaze", self.gaze, (frames, 2), bound=np.pi / 2)
        check_array("labels", "blink", self.blink, (frames, 2), bound=1.0)
        if self.blink.min(initial=0.0) < 0.0:
            raise ValueError(f"labels: blink must be 0 (open) to 1 (shut), got {self.blink.min()}")
        for name, score in self.lip_sync.items():
            if not math.isfinite(score):
                raise ValueError(f"labels: lip sync {name} must be finite, got {score}")
        if self.coefficients is not None:
            check_array("labels", "coefficients", self.coefficients, (frames, COEFFICIENT_COUNT))
        if self.blendshapes is not None:
            _check_blendshapes(self.blendshapes, frames)


@dataclass(frozen=True)
class EyeAnchor:
    """The paper's v_a: frame `base_frame` (v2) with the eye region of `eyes_jpeg` (v1)."""

    base_frame: int  # index of v2 in the sample's own frames
    eyes_key: str  # clip that v1 comes from
    eyes_frame: int  # index of v1 in that clip
    eyes_identity: str
    composite_jpeg: bytes = field(repr=False)  # v_a, 224 x 224
    eyes_jpeg: bytes = field(repr=False)  # v1, 224 x 224; a copy, so that a shard needs no other
    gaze_error_rad: float  # angle between the composite's gaze and v1's
    blink_error: float  # largest of both eyes
    rest_error_px: float  # mean landmark distance off the eyes, composite against v2

    def __post_init__(self) -> None:
        errors = (self.gaze_error_rad, self.blink_error, self.rest_error_px)
        if self.base_frame < 0 or self.eyes_frame < 0 or not all(0 <= error < math.inf for error in errors):
            raise ValueError(
                f"eye anchor from {self.eyes_key}: frames and errors must be >= 0 and finite, got frames "
                f"{self.base_frame} and {self.eyes_frame}, errors {errors}"
            )


@dataclass(frozen=True)
class ClipSample:
    """One WebDataset sample: a clip, its labels, its mel features and its eye anchors."""

    clip: Clip
    labels: ClipLabels
    mel: NDArray[np.float32] = field(
        repr=False
    )  # [4 T + 16, 80] in [0, 1]; frame t's window: 4 t to 4 t + 19
    anchors: tuple[EyeAnchor, ...] = ()

    def __post_init__(self) -> None:
        key, frames = self.clip.key, self.clip.frame_count
        if len(self.labels.pose) != frames:
            raise ValueError(f"{key}: {frames} frames, but labels of {len(self.labels.pose)}")
        check_array(key, "mel", self.mel, mel_shape(frames), bound=1.0)
        for anchor in self.anchors:
            if not 0 <= anchor.base_frame < frames:
                raise ValueError(f"{key}: anchor of frame {anchor.base_frame}, but {frames} frames")


def mel_shape(frames: int) -> tuple[int, int]:
    """Shape of the mel features of a clip: every frame's window of 20 rows, 4 rows apart."""
    return (4 * frames + 2 * MEL_ROWS_BEFORE, MEL_BANDS)


def check_array(
    owner: str, name: str, array: NDArray[np.float32], shape: tuple[int, ...], bound: float | None = None
) -> None:
    """Raise ValueError unless `array` is float32, of `shape`, finite and within +-`bound`."""
    if array.dtype != np.float32 or array.shape != shape:
        raise ValueError(f"{owner}: {name} is {array.dtype}{list(array.shape)}, need float32{list(shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{owner}: {name} contains a value that is not finite")
    if bound is not None and array.size and np.abs(array).max() > bound:
        raise ValueError(f"{owner}: {name} must be within +-{bound}, got {np.abs(array).max()}")


def _check_blendshapes(blendshapes: NDArray[np.float32], frames: int) -> None:
    missing = np.isnan(blendshapes)
    known = np.where(missing, np.float32(0.0), blendshapes)
    check_array("labels", "blendshapes", known, (frames, BLENDSHAPE_COUNT), bound=1.0)
    if known.min(initial=0.0) < 0.0:
        raise ValueError(f"labels: blendshapes must be 0 to 1, got {known.min()}")
    if (missing.any(axis=1) != missing.all(axis=1)).any():
        raise ValueError("labels: blendshapes of a frame must be all NaN or all finite")
