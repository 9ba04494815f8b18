"""Sources of batches: how one row of each kind is read.

A source knows its samples (clips, or single eye anchors) and reads one as a batch of one row. Choices within
a sample (frames, negatives) are drawn from the given generator.
"""

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from preprocessing.faces.shape.expression import measure_expression
from preprocessing.schema import LANDMARK_COUNT
from storage.settings import Settings
from training.data.batches import (
    NO_IMAGES,
    Batch,
    ClipPairs,
    CorruptMember,
    ExpressionWindows,
    LabelledFrames,
    RowFacts,
)
from training.data.draws import draw_spread, driven_by, read_mel_window
from training.data.frame_features import FrameFeatures
from training.data.index import ClipIndex
from training.data.pairs import PairDraws, PairSettings
from training.data.shard_reader import ShardReader

WindowFrom = Literal["clip", "consecutive"]
BatchOut_co = TypeVar("BatchOut_co", bound=Batch, covariant=True)


@runtime_checkable
class Source(Protocol, Generic[BatchOut_co]):
    """Samples of one kind of batch."""

    @property
    def index(self) -> ClipIndex:
        """The clips of the split."""
        ...

    @property
    def settings(self) -> object:
        """Settings that decide what is drawn from a sample."""
        ...

    @property
    def clips(self) -> NDArray[np.int64]:
        """[N] clip of each sample."""
        ...

    def name(self, item: int) -> str:
        """Unique name of a sample."""
        ...

    @property
    def corrupt(self) -> tuple[CorruptMember, ...]:
        """Members that could not be read when the source was built."""
        ...

    def read(self, reader: ShardReader, item: int, rng: np.random.Generator, facts: RowFacts) -> BatchOut_co:
        """Read a sample as a batch of one row, and set `facts.frames`."""
        ...


class ClipPairSettings(PairSettings):
    """Stage 1."""


class ExpressionWindowSettings(PairSettings):
    """Expression stage; the paper's window size is unverified."""

    window_frames: int = Field(default=5, ge=1, description="K, odd: the driving frame is in the middle")
    # The paper: consecutive frames around the driving one. Ours: few consecutive frames hardly differ, so
    # their mean keeps what decorrelation should remove (`docs/training.md`).
    window_from: WindowFrom = Field(
        default="clip",
        description="clip: K frames spread over the whole clip; consecutive: K frames around the driving one",
    )

    window_span_frames: int = Field(
        default=0,
        ge=0,
        description="clip: frames around the driving one over which the K frames are spread, and over which "
        "`animate` averages; 0: the whole clip",
    )

    @model_validator(mode="after")
    def _check_window(self) -> "ExpressionWindowSettings":
        if self.window_frames % 2 == 0:
            raise ValueError(f"window_frames must be odd, got {self.window_frames}")
        if 0 < self.window_span_frames < self.window_frames:
            raise ValueError(
                f"window_span_frames must be 0 or at least window_frames {self.window_frames}, "
                f"got {self.window_span_frames}"
            )
        return self


class NoSettings(Settings):
    """A source without settings."""


class WholeClipSource:
    """Base of sources with one sample per clip."""

    corrupt: tuple[CorruptMember, ...] = ()

    def __init__(
        self, index: ClipIndex, minimum_frames: int = 1, features: FrameFeatures | None = None
    ) -> None:
        short = np.flatnonzero(index.frame_counts < minimum_frames)
        if len(short):
            raise ValueError(
                f"clip {index.key(int(short[0]))} has {index.frame_counts[short[0]]} frames, "
                f"need {minimum_frames}; {len(short)} such clips"
            )
        self.index = index
        self.features = features
        self.clips = np.arange(len(index), dtype=np.int64)

    def name(self, item: int) -> str:
        """The clip's key."""
        return self.index.key(item)

    def feature_rows(self, moments: Sequence[tuple[int, int]]) -> Tensor | None:
        """Cached features [1, N, D] of frames, each a clip and a frame; None where none are cached."""
        if self.features is None:
            return None
        return torch.cat([self.features.rows(clip, [frame]) for clip, frame in moments])[None]

    def frame_count(self, clip: int) -> int:
        """T of a clip."""
        return int(self.index.frame_counts[clip])


class ClipPairSource(WholeClipSource):
    """One frame pair per clip, which the driving frame is of."""

    def __init__(
        self, index: ClipIndex, settings: ClipPairSettings, features: FrameFeatures | None = None
    ) -> None:
        super().__init__(index, minimum_frames=2, features=features)
        self.settings = settings
        self._pairs = PairDraws(index, settings)
        self._identities = index.identity_numbers()

    def read(self, reader: ShardReader, item: int, rng: np.random.Generator, facts: RowFacts) -> ClipPairs:
        """Two different frames."""
        driving = self._pairs.driving(reader, item, rng)
        clip, appearance = self._pairs.appearance(reader, item, driving, rng, facts)
        return ClipPairs(
            driven_by(facts, driving),
            appearance=reader.frames(clip, [appearance])[0][None],
            driving=reader.frames(item, [driving])[0][None],
            appearance_landmarks_px=read_landmarks(reader, clip, appearance),
            landmarks_px=read_landmarks(reader, item, driving),
            identity=torch.from_numpy(self._identities[[item]]),
            features=self.feature_rows([(clip, appearance), (item, driving)]),
        )


class LabelledFrameSource(WholeClipSource):
    """One labelled frame per clip."""

    settings = NoSettings()

    def read(
        self, reader: ShardReader, item: int, rng: np.random.Generator, facts: RowFacts
    ) -> LabelledFrames:
        """A uniformly drawn frame of the clip."""
        frames = self.frame_count(item)
        frame = int(rng.integers(frames))

        def label(member: str, *shape: int) -> Tensor:
            return torch.from_numpy(reader.rows(item, member, (frames, *shape), frame, frame + 1).copy())

        features = self.feature_rows([(item, frame)])
        return LabelledFrames(
            driven_by(facts, frame),
            frames=(NO_IMAGES if features is not None else reader.frames(item, [frame])[0])[None],
            features=None if features is None else features[:, 0],
            pose=label("pose.npy", 6),
            gaze=label("gaze.npy", 2),
            blink=label("blink.npy", 2),
            landmarks_px=label("landmarks.npy", LANDMARK_COUNT, 3),
        )


class ExpressionWindowSource(WholeClipSource):
    """One window of K frames per clip; `labelled`: with smile and brows of its frames."""

    def __init__(
        self,
        index: ClipIndex,
        settings: ExpressionWindowSettings,
        features: FrameFeatures | None = None,
        *,
        labelled: bool = False,
    ) -> None:
        super().__init__(index, minimum_frames=max(2, settings.window_frames), features=features)
        self.settings = settings
        self._labelled = labelled
        self._pairs = PairDraws(index, settings)

    def read(
        self, reader: ShardReader, item: int, rng: np.random.Generator, facts: RowFacts
    ) -> ExpressionWindows:
        """A window within the clip, and another frame for the appearance."""
        window = self._draw_window(reader, item, rng)
        driving = window[len(window) // 2]
        clip, appearance = self._pairs.appearance(reader, item, driving, rng, facts)
        features = self.feature_rows([(clip, appearance), *((item, frame) for frame in window)])
        read = window if features is None else [driving]
        if clip == item:  # a frame of the window is decoded once
            images = reader.frames(item, [appearance, *read])
        else:
            images = reader.frames(clip, [appearance]) + reader.frames(item, read)
        return ExpressionWindows(
            driven_by(facts, driving),
            appearance=images[0][None],
            window=torch.stack(images[1:])[None],
            mels=read_mel_window(reader, item, driving)[None],
            appearance_landmarks_px=read_landmarks(reader, clip, appearance),
            landmarks_px=read_landmarks(reader, item, driving),
            features=features,
            expression_labels=self._expression_labels(reader, item, window) if self._labelled else None,
        )

    def _expression_labels(self, reader: ShardReader, clip: int, window: list[int]) -> Tensor:
        """Smile and brow raise [1, K, 2], cm."""
        count, first, end = self.frame_count(clip), min(window), max(window) + 1
        landmarks = reader.rows(clip, "landmarks.npy", (count, LANDMARK_COUNT, 3), first, end)
        pose = reader.rows(clip, "pose.npy", (count, 6), first, end)
        frames = [frame - first for frame in window]
        expression = measure_expression(landmarks[frames], pose[frames])
        return torch.from_numpy(np.stack([expression.smile, expression.brow_raise], axis=1))[None]

    def _draw_window(self, reader: ShardReader, clip: int, rng: np.random.Generator) -> list[int]:
        """K different frames, the driving one in the middle."""
        count = self.settings.window_frames
        if self.settings.window_from == "consecutive":
            driving = self._pairs.driving(reader, clip, rng, margin_frames=count // 2)
            return list(range(driving - count // 2, driving + count // 2 + 1))
        driving = self._pairs.driving(reader, clip, rng)
        first, span = self.window_span(clip, driving)
        others = [first + frame for frame in draw_spread(span, driving - first, count, rng)]
        return [*others[: count // 2], driving, *others[count // 2 :]]

    def window_span(self, clip: int, driving: int) -> tuple[int, int]:
        """First frame and number of the frames over which the window of a driving frame is spread."""
        frames = self.frame_count(clip)
        span = min(self.settings.window_span_frames or frames, frames)
        return min(max(driving - span // 2, 0), frames - span), span


def read_landmarks(reader: ShardReader, clip: int, frame: int) -> Tensor:
    """Landmarks of a frame, float32 [1, 478, 3] px in the stored crop."""
    frames = int(reader.index.frame_counts[clip])
    rows = reader.rows(clip, "landmarks.npy", (frames, LANDMARK_COUNT, 3), frame, frame + 1)
    return torch.from_numpy(rows.copy())
