"""Which source picture is at which place of the 25 fps grid; pure arithmetic on time stamps.

Timeline: its zero is the earlier start of picture and sound, moved back by less than 40 ms so
that the first picture is exactly on the grid. A 25 fps source is therefore copied picture by
picture, whatever the sound's start, and its time stamps are met exactly.

Rule: grid place k has the source picture whose time stamp is nearest to k/25 s. In a gap the
picture on display is repeated instead, until 20 ms before the next one. A picture's time stamp
therefore differs from its place by at most half the source's frame interval: 16.7 ms at 30 fps,
exactly 20 ms at 24 fps (from the grid's phase), 20.9 ms at 23.976 fps. In a gap, the picture was
on the source's screen within 20 ms of its place.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from preprocessing.schema import FRAMES_PER_SECOND

HALF_STEP_SECONDS: Final = Fraction(1, 2 * FRAMES_PER_SECOND)  # 20 ms
# Longer than any frame interval at 24 or 23.976 fps, also after Matroska rounded its ends to 1 ms.
GAP_SECONDS: Final = Fraction(1, 23)


def timeline_zero(video_start: Fraction, audio_start: Fraction) -> Fraction:
    """The timeline's zero on the file's clock, from both streams' starts; all in seconds."""
    lead = video_start - min(video_start, audio_start)
    return video_start - Fraction(math.ceil(lead * FRAMES_PER_SECOND), FRAMES_PER_SECOND)


def first_place(start: Fraction) -> int:
    """First grid place of a picture that starts at `start` (timeline seconds)."""
    return math.ceil((start - HALF_STEP_SECONDS) * FRAMES_PER_SECOND)


def places_until_next(first: int, start: Fraction, following: Fraction) -> range:
    """Grid places, from `first`, of the picture displayed from `start` until the one at `following`."""
    is_gap = following - start > GAP_SECONDS
    switch = following - HALF_STEP_SECONDS if is_gap else (start + following) / 2
    return range(first, max(first, math.ceil(switch * FRAMES_PER_SECOND)))


def places_until_end(first: int, end: Fraction) -> range:
    """Grid places, from `first`, of the last picture, which ends at `end`: at least half covered."""
    return range(first, max(first, math.floor((end - HALF_STEP_SECONDS) * FRAMES_PER_SECOND) + 1))


@dataclass
class PlaceCounter:
    """The grid's next free place, and the start of the source picture on display before it."""

    next_place: int | None = None  # None before the first picture
    displayed_since: Fraction = Fraction(0)

    def advance(self, start: Fraction) -> range:
        """Places of the picture on display, given that the next one starts at `start`.

        Raises:
            ValueError: `start` is not later than the start of the picture on display.
        """
        if self.next_place is None:
            self.next_place, self.displayed_since = first_place(start), start
            return range(0)
        if start <= self.displayed_since:
            raise ValueError(
                f"a picture at {float(start)} s must not follow one at {float(self.displayed_since)} s"
            )
        places = places_until_next(self.next_place, self.displayed_since, start)
        self.next_place, self.displayed_since = places.stop, start
        return places

    def finish(self, duration: Fraction) -> range:
        """Places of the last picture, displayed for `duration` seconds; empty if there was no picture."""
        if self.next_place is None:
            return range(0)
        places = places_until_end(self.next_place, self.displayed_since + duration)
        self.next_place = places.stop
        return places
