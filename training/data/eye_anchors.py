"""Eye anchor triplets (v1, v2, v_a) whose people are all of one split."""

import numpy as np

from training.data.batches import CorruptMember, EyeAnchors, RowFacts
from training.data.draws import driven_by
from training.data.index import ClipIndex, NoSamplesError
from training.data.shard_reader import CorruptMemberError, ShardReader
from training.data.sources import NoSettings


class EyeAnchorSource:
    """An eye anchor a sample: only those whose v1 shows somebody of the same split.

    Reads `anchors.json` of every clip that has anchors, when made. An identity that the data set does not
    know (its clips were all refused) has no split, so its anchors are left out too.
    """

    settings = NoSettings()

    def __init__(self, index: ClipIndex, reader: ShardReader) -> None:
        self.index = index
        found: list[tuple[int, int, int]] = []
        corrupt: list[CorruptMember] = []
        self.other_split_count = 0  # anchors left out
        for clip in np.flatnonzero(index.anchor_counts).tolist():
            try:
                facts = self._read_facts(reader, clip)
            except CorruptMemberError as error:
                if error.member is None:
                    raise
                corrupt.append(error.member)
                continue
            same = [index.split_of_identity.get(identity) == index.split for _, identity in facts]
            self.other_split_count += same.count(False)
            found += [(clip, number, facts[number][0]) for number, usable in enumerate(same) if usable]
        if not found:
            raise NoSamplesError(
                f"no eye anchor in split {index.split}: {int(index.anchor_counts.sum())} anchors, "
                f"{self.other_split_count} with eyes of another split, {len(corrupt)} clips unreadable"
            )
        columns = np.array(found, np.int64)
        self.clips, self._numbers, self._base_frames = columns.T
        self.corrupt = tuple(corrupt)  # the loader counts them

    def name(self, item: int) -> str:
        """Key and the anchor's number."""
        return f"{self.index.key(int(self.clips[item]))}#{self._numbers[item]}"

    def read(self, reader: ShardReader, item: int, lot: np.random.Generator, facts: RowFacts) -> EyeAnchors:
        """The three pictures; nothing is drawn."""
        del lot
        clip, number, frame = int(self.clips[item]), int(self._numbers[item]), int(self._base_frames[item])
        return EyeAnchors(
            driven_by(facts, frame),
            eyes=reader.picture(clip, f"anchors.{number:02d}.eyes.jpg")[None],
            base=reader.frames(clip, [frame])[0][None],
            anchor=reader.picture(clip, f"anchors.{number:02d}.jpg")[None],
        )

    def _read_facts(self, reader: ShardReader, clip: int) -> list[tuple[int, str]]:
        values = reader.json(clip, "anchors.json")
        try:
            facts = [(int(value["base_frame"]), str(value["eyes_identity"])) for value in values]
        except (KeyError, TypeError, ValueError) as error:
            raise reader.corrupt(clip, "anchors.json", f"does not hold what it must: {error!r}") from error
        if len(facts) != self.index.anchor_counts[clip]:
            raise reader.corrupt(
                clip,
                "anchors.json",
                f"tells of {len(facts)} anchors, the index of {self.index.anchor_counts[clip]}",
            )
        return facts
