"""Lip windows: a frame and its audio, with negatives of the same clip and of other clips."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from storage.settings import Settings
from training.data.batches import NO_IMAGES, LipWindows, RowFacts
from training.data.draws import driven_by, read_mel_window
from training.data.frame_features import FrameFeatures
from training.data.index import ClipIndex, NoSamplesError
from training.data.shard_reader import ShardReader
from training.data.sources import WholeClipSource


class LipWindowSettings(Settings):
    """Lip stage. K = `from_same_clip` + `from_other_clips`; the paper's K is unverified."""

    from_same_clip: int = Field(default=4, ge=0, description="Negatives from the same clip")
    from_other_clips: int = Field(default=4, ge=0, description="Negatives from other clips")
    minimum_gap_frames: int = Field(
        default=5,
        ge=1,
        description="Minimum distance within a clip; at 5 frames, mel windows of 20 mel frames do not "
        "overlap",
    )
    other_clips: Literal["shard", "split"] = Field(
        default="split",
        description="Where other clips come from; shard reads fewer files but holds few identities",
    )

    @model_validator(mode="after")
    def _check_negatives(self) -> "LipWindowSettings":
        if self.from_same_clip + self.from_other_clips < 1:
            raise ValueError("from_same_clip + from_other_clips must be >= 1, got 0 + 0")
        return self


class LipWindowSource(WholeClipSource):
    """One window per clip, with its negatives."""

    def __init__(
        self, index: ClipIndex, settings: LipWindowSettings, features: FrameFeatures | None = None
    ) -> None:
        super().__init__(index, features=features)
        if len(index) < 2 and settings.from_other_clips:
            raise NoSamplesError(
                f"{len(index)} clip in split {index.split}: no other clip for negatives; need two"
            )
        self.settings = settings
        by_shard = np.argsort(index.shards, kind="stable")
        bounds = np.searchsorted(index.shards[by_shard], np.arange(len(index.shard_paths) + 1))
        self._by_shard, self._bounds = by_shard, bounds
        self._place = np.argsort(by_shard)

    def read(self, reader: ShardReader, item: int, rng: np.random.Generator, facts: RowFacts) -> LipWindows:
        """A frame with its audio, and K negatives.

        Where a clip is too short for `from_same_clip` frames with the gap, the missing ones are drawn from
        other clips (ValueError if the split has none).
        """
        frame = int(rng.integers(self.frame_count(item)))
        own = self._draw_own(item, frame, rng)
        missing = self.settings.from_same_clip - len(own)
        foreign = self._draw_others(item, self.settings.from_other_clips + missing, rng)
        moments = [(item, number) for number in own] + foreign
        features = self.feature_rows([(item, frame), *moments])
        if features is None:
            images = reader.frames(item, [frame, *own])
            images += [reader.frames(clip, [number])[0] for clip, number in foreign]
        else:
            images = [NO_IMAGES] * (1 + len(moments))
        mels = [read_mel_window(reader, clip, number) for clip, number in moments]
        return LipWindows(
            driven_by(facts, frame),
            frames=images[0][None],
            mels=read_mel_window(reader, item, frame)[None],
            negative_frames=torch.stack(images[1:])[None],
            negative_mels=torch.stack(mels)[None],
            from_same_clip=(torch.arange(len(mels)) < len(own))[None],
            moments=torch.tensor([(item, frame), *moments])[None],
            features=features,
        )

    def _draw_own(self, item: int, frame: int, rng: np.random.Generator) -> list[int]:
        """Frames of the clip at least the gap from `frame`, and from one another in long enough clips."""
        gap, count = self.settings.minimum_gap_frames, self.settings.from_same_clip
        numbers = np.arange(self.frame_count(item))
        apart = numbers[np.abs(numbers - frame) >= gap]
        steps = apart[(apart - frame) % gap == 0]
        return [int(number) for number in rng.permutation(steps if len(steps) >= count else apart)[:count]]

    def _draw_others(self, item: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """(clip, frame) of `count` other clips, all different if there are enough."""
        if not count:
            return []
        first, end = 0, len(self.index)
        if self.settings.other_clips == "shard":
            shard = int(self.index.shards[item])
            first, end = int(self._bounds[shard]), int(self._bounds[shard + 1])
            if end - first < 2:  # the only clip of its shard
                first, end = 0, len(self.index)
        if end - first < 2:
            raise ValueError(f"{self.index.key(item)}: no other clip for {count} negatives")
        place = int(self._place[item]) - first
        picks = rng.choice(end - first - 1, count, replace=count > end - first - 1)
        clips = [int(self._by_shard[first + step + (step >= place)]) for step in picks]
        return [(clip, int(rng.integers(self.frame_count(clip)))) for clip in clips]
