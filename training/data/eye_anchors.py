"""Eye anchor triplets (v1, v2, v_a) whose identities are all in one split."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from storage.settings import Settings
from training.data.batches import NO_IMAGES, CorruptMember, EyeAnchors, RowFacts
from training.data.draws import driven_by
from training.data.frame_features import FrameFeatures
from training.data.index import ClipIndex, NoSamplesError
from training.data.shard_reader import CorruptMemberError, ShardReader


class EyeAnchorReading(Settings):
    """What is read beside the anchors."""

    labelled_frames: int = Field(
        default=0, ge=0, description="Other frames of v2's clip, with labels, for the label readout"
    )


class EyeAnchorSource:
    """One sample per eye anchor whose v1 is of an identity of the same split.

    Reads `anchors.json` of all clips with anchors when built. Identities without a split (all their clips
    were refused) are excluded too.
    """

    def __init__(
        self, index: ClipIndex, reader: ShardReader, settings: EyeAnchorReading | None = None
    ) -> None:
        self.index = index
        self.settings = settings or EyeAnchorReading()
        anchors: list[tuple[int, int, int]] = []
        corrupt: list[CorruptMember] = []
        self.other_split_count = 0  # excluded anchors
        for clip in np.flatnonzero(index.anchor_counts).tolist():
            try:
                facts = self._read_facts(reader, clip)
            except CorruptMemberError as error:
                if error.member is None:
                    raise
                corrupt.append(error.member)
                continue
            same = [index.split_of_identity.get(identity) == index.people for _, identity in facts]
            self.other_split_count += same.count(False)
            anchors += [(clip, number, facts[number][0]) for number, usable in enumerate(same) if usable]
        if not anchors:
            raise NoSamplesError(
                f"no eye anchor in split {index.split}: {int(index.anchor_counts.sum())} anchors, "
                f"{self.other_split_count} with eyes of another split, {len(corrupt)} clips unreadable"
            )
        columns = np.array(anchors, np.int64)
        self.clips, self._numbers, self._base_frames = columns.T
        self.corrupt = tuple(corrupt)  # the loader counts them
        self.features: Tensor | None = None  # [A, 3, D] of v1, v2 and v_a of every anchor
        self.frame_features: FrameFeatures | None = None  # of every frame, for the readout

    def name(self, item: int) -> str:
        """The clip's key and the anchor's number."""
        return f"{self.index.key(int(self.clips[item]))}#{self._numbers[item]}"

    def read(self, reader: ShardReader, item: int, rng: np.random.Generator, facts: RowFacts) -> EyeAnchors:
        """The three images; the labelled frames are drawn."""
        labelled = self._labelled(reader, int(self.clips[item]), rng)
        if self.features is not None:
            return EyeAnchors(
                driven_by(facts, int(self._base_frames[item])),
                *[NO_IMAGES[None]] * 3,
                features=self.features[item][None],
                **labelled,
            )
        clip, number, frame = int(self.clips[item]), int(self._numbers[item]), int(self._base_frames[item])
        return EyeAnchors(
            driven_by(facts, frame),
            eyes=reader.image(clip, f"anchors.{number:02d}.eyes.jpg")[None],
            base=reader.frames(clip, [frame])[0][None],
            anchor=reader.image(clip, f"anchors.{number:02d}.jpg")[None],
            **labelled,
        )

    def _labelled(self, reader: ShardReader, clip: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Frames of a clip, drawn with replacement, and what their eyes do."""
        if not self.settings.labelled_frames:
            return {}
        count = int(self.index.frame_counts[clip])
        frames = rng.integers(count, size=self.settings.labelled_frames).tolist()
        labels = [
            reader.rows(clip, member, (count, 2), 0, count)[frames] for member in ("gaze.npy", "blink.npy")
        ]
        shown = (
            torch.stack(reader.frames(clip, frames))
            if self.frame_features is None
            else self.frame_features.rows(clip, frames)
        )
        return {
            "labelled": shown[None],
            "eye_labels": torch.from_numpy(np.concatenate(labels, axis=1))[None],
        }

    def _read_facts(self, reader: ShardReader, clip: int) -> list[tuple[int, str]]:
        values = reader.json(clip, "anchors.json")
        try:
            facts = [(int(value["base_frame"]), str(value["eyes_identity"])) for value in values]
        except (KeyError, TypeError, ValueError) as error:
            raise reader.corrupt(clip, "anchors.json", f"has unexpected content: {error!r}") from error
        if len(facts) != self.index.anchor_counts[clip]:
            raise reader.corrupt(
                clip,
                "anchors.json",
                f"lists {len(facts)} anchors, the index {self.index.anchor_counts[clip]}",
            )
        return facts
