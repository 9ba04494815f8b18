"""Time stamps of files that got them wrong: parts whose clock begins again, pictures out of order.

Two repairs, both the identity on a sound file. `PartSplicer` moves packets: where files were joined byte by
byte, or a stream was restarted, the clock of both streams jumps, and the new part is put behind the last one.
`DisplayOrder` gives pictures, which a decoder returns in display order, their times: AVI numbers them in
decoding order, and careless muxers write the same into other containers.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from av.video.frame import VideoFrame as SourceFrame

from preprocessing.media.container import AnyPacket
from preprocessing.schema import FRAMES_PER_SECOND

# A decoding time stamp never goes back in a sound stream; presentation stamps do, by some B-frames.
BACK_SECONDS: Final = 0.3
BACK_SECONDS_WITHOUT_DTS: Final = 1.0
# FFmpeg's own bound (`dts_delta_threshold`) for the containers below, whose clock may jump.
AHEAD_SECONDS: Final = 10.0
JUMPING_CONTAINERS: Final = ("mpegts", "mpeg")
HELD_PICTURES: Final = 2  # so that two pictures whose stamps are swapped get them sorted
SURVEYED_PICTURES: Final = 12  # of a stream with B-frames, before its kind of stamp is known
SURVEYED_BYTES: Final = 96 * 2**20
MAXIMUM_UNSORTED_SHARE: Final = 0.1
UNSORTED_PICTURES: Final = 12  # as many say nothing about a file


@dataclass
class _Part:
    offset: Fraction  # seconds to add to the file's clock
    first_stamp: float  # file's clock
    latest_stamp: float
    starts: dict[int, float] = field(default_factory=dict)  # stream -> first stamp, spliced


class PartSplicer:
    """Puts the parts of a joined file one behind the other, with the same shift for picture and sound.

    Args:
        container: FFmpeg's name of the demuxer.
        video_index: the stream of pictures, whose part starts are recorded.

    Attributes:
        video_part_starts: seconds on the spliced clock at which the pictures of the second and later parts
            begin.
    """

    def __init__(self, container: str, video_index: int) -> None:
        self._may_jump_ahead = container in JUMPING_CONTAINERS
        self._video_index = video_index
        self._parts: list[_Part] = []
        self._part_of: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self._end = -math.inf
        self.video_part_starts: list[float] = []

    def splice(self, packet: AnyPacket) -> None:
        """Move the packet's stamps onto the spliced clock."""
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            return
        # Quotients of whole numbers are rounded as fractions are, in a fifth of the time.
        numerator, denominator = packet.time_base.numerator, packet.time_base.denominator
        seconds = stamp * numerator / denominator
        shown = (stamp if packet.pts is None else packet.pts) * numerator / denominator
        stream = packet.stream_index
        part = self._enter(stream, seconds, shown, BACK_SECONDS if packet.dts is not None else None)
        self._last[stream] = seconds
        part.latest_stamp = max(part.latest_stamp, seconds)
        if part.offset:
            offset = round(part.offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + offset
            packet.dts = None if packet.dts is None else packet.dts + offset
        end = shown + float(part.offset) + (packet.duration or 0) * numerator / denominator
        self._end = max(self._end, end)

    def _enter(self, stream: int, seconds: float, shown: float, back: float | None) -> _Part:
        """The part that a packet belongs to."""
        if not self._parts:
            self._parts.append(_Part(Fraction(0), shown, seconds))
        newest, last = len(self._parts) - 1, self._last.get(stream)
        number = self._part_of.setdefault(stream, newest)
        if last is not None:
            if number < newest:
                if abs(seconds - self._parts[newest].first_stamp) < abs(seconds - last):
                    self._join(stream, newest, shown)
            elif self._begins_again(seconds, last, back):
                # A multiple of the grid's step: pictures that were on the grid stay on it.
                steps = math.ceil((self._end - shown) * FRAMES_PER_SECOND - 1e-6)
                self._parts.append(_Part(Fraction(steps, FRAMES_PER_SECOND), shown, seconds))
                self._join(stream, newest + 1, shown)
        return self._parts[self._part_of[stream]]

    def _begins_again(self, seconds: float, last: float, back: float | None) -> bool:
        if seconds < last - (BACK_SECONDS_WITHOUT_DTS if back is None else back):
            return True
        return self._may_jump_ahead and seconds > self._parts[-1].latest_stamp + AHEAD_SECONDS

    def _join(self, stream: int, number: int, shown: float) -> None:
        self._part_of[stream] = number
        if stream == self._video_index:
            self.video_part_starts.append(shown + float(self._parts[number].offset))


class DisplayOrder:
    """Gives every picture a time later than the one before it.

    Presentation stamps are taken where they ascend in the order in which the decoder returns pictures, else
    decoding stamps, less the decoder's delay (always in AVI, which has no others). Stamps that are merely
    swapped are sorted; pictures with equal ones share the time until the next.

    Args:
        decoding_stamps: use them from the start: the container has no presentation stamps.
        surveys: look at the first pictures before the first is returned: the stream has B-frames.
        start: of the stream, seconds; where the first picture goes that has no stamp.
        interval: seconds that a picture is displayed whose own duration is not known.

    Attributes:
        restamped_pictures: pictures so far whose own stamp was not used.
        unsorted_pictures: those among them that sorting did not put right.
    """

    def __init__(self, *, decoding_stamps: bool, surveys: bool, start: Fraction, interval: Fraction) -> None:
        self._interval = interval
        self._uses_dts = decoding_stamps
        self._surveys = surveys and not decoding_stamps
        self._held: deque[tuple[SourceFrame, Fraction | None]] = deque()
        self._survey: list[tuple[SourceFrame, int]] = []
        self._stamps: list[Fraction] = []
        self._next = start  # for a picture without a stamp
        self._last: Fraction | None = None
        self._last_duration: tuple[tuple[int, Fraction], Fraction] = ((0, Fraction(1)), Fraction(0))
        self.pictures = 0
        self.restamped_pictures = 0
        self.unsorted_pictures = 0

    def add(self, frame: SourceFrame, delay_pictures: int) -> Iterator[tuple[SourceFrame, Fraction]]:
        """Add the decoder's next picture; returns pictures with their seconds on the file's clock.

        Args:
            frame: the picture.
            delay_pictures: by which the decoder's pictures are behind its packets.
        """
        if self._surveys:
            self._survey.append((frame, delay_pictures))
            size = sum(plane.buffer_size for plane in frame.planes) * len(self._survey)
            if len(self._survey) >= SURVEYED_PICTURES or size > SURVEYED_BYTES:
                yield from self._end_survey()
        else:
            self._hold(frame, delay_pictures)
            yield from self._release(HELD_PICTURES)

    def finish(self) -> Iterator[tuple[SourceFrame, Fraction]]:
        """The pictures that are left."""
        if self._surveys:
            yield from self._end_survey()
        yield from self._release(0)

    @property
    def is_broken(self) -> bool:
        """Whether so many stamps were beyond sorting that the pictures' times are guesses."""
        return self.unsorted_pictures > max(UNSORTED_PICTURES, MAXIMUM_UNSORTED_SHARE * self.pictures)

    def duration_of(self, frame: SourceFrame) -> Fraction:
        """Seconds that a picture is displayed: its own, or the stream's interval."""
        if not frame.duration or frame.time_base is None:
            return self._interval
        duration = frame.duration, frame.time_base
        if self._last_duration[0] != duration:  # fractions cost as much as decoding a small picture
            self._last_duration = duration, frame.duration * frame.time_base
        return self._last_duration[1]

    def _end_survey(self) -> Iterator[tuple[SourceFrame, Fraction]]:
        frames = [frame for frame, _ in self._survey]
        self._uses_dts = _faults([frame.pts for frame in frames]) > _faults([frame.dts for frame in frames])
        self._surveys = False
        for frame, delay_pictures in self._survey:
            self._hold(frame, delay_pictures)
            yield from self._release(HELD_PICTURES)
        self._survey = []

    def _hold(self, frame: SourceFrame, delay_pictures: int) -> None:
        stamp = self._stamp_of(frame, delay_pictures)
        self._held.append((frame, stamp))
        if stamp is not None:
            heapq.heappush(self._stamps, stamp)

    def _stamp_of(self, frame: SourceFrame, delay_pictures: int) -> Fraction | None:
        if frame.time_base is None:
            return None
        if not self._uses_dts and frame.pts is not None:
            return frame.pts * frame.time_base
        if frame.dts is None:
            return None  # the last pictures, which come without a packet
        return frame.dts * frame.time_base - delay_pictures * self.duration_of(frame)

    def _release(self, kept: int) -> Iterator[tuple[SourceFrame, Fraction]]:
        while len(self._held) > kept:
            frame, own = self._held.popleft()
            time = self._next if own is None else heapq.heappop(self._stamps)
            if self._last is not None and time <= self._last:
                time = self._between()
                self.unsorted_pictures += 1
            self.pictures += 1
            self.restamped_pictures += own is not None and time != own
            self._last, self._next = time, time + self.duration_of(frame)
            yield frame, time

    def _between(self) -> Fraction:
        """A time after the last picture and before the next later stamp that is known."""
        assert self._last is not None
        later = min((stamp for stamp in self._stamps if stamp > self._last), default=None)
        if later is None or later > self._next:
            return self._next
        return (self._last + later) / 2


def _faults(stamps: list[int | None]) -> int:
    """How many stamps are missing or do not ascend."""
    faults, last = 0, None
    for stamp in stamps:
        if stamp is None or (last is not None and stamp <= last):
            faults += 1
        last = stamp if stamp is not None else last
    return faults
