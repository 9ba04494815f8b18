"""Decoded sound on the timeline: mono, 16 kHz, sample n at n/16000 s, gaps filled with zeros."""

from collections.abc import Callable
from fractions import Fraction
from typing import Final, cast

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from numpy.typing import NDArray

from preprocessing.media.container import RefusedVideo
from preprocessing.media.limits import MediaLimits
from preprocessing.schema import SAMPLE_RATE_HZ

SoundSink = Callable[[NDArray[np.float32]], None]

# Time stamps rounded to 1 ms (Matroska) or to 90 kHz jitter around the true time; following them
# would tear the sound. A larger difference is a gap, an overlap or a drift, and is followed.
STAMP_TOLERANCE_SECONDS: Final = 0.010
SAMPLE_RATES_HZ: Final = (1_000, 768_000)
BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ  # given to the sink at once: a call for each packet costs CPU time


def _check_rate(rate_hz: int) -> None:
    """Refuse sound that no microphone records: at 1 Hz, a second of the file would become an hour.

    Raises:
        RefusedVideo: `unreadable`.
    """
    low, high = SAMPLE_RATES_HZ
    if not low <= rate_hz <= high:
        raise RefusedVideo("unreadable", f"sound of {rate_hz} Hz, need {low} to {high} Hz")


class SoundTrack:
    """Takes decoded sound in decoding order and gives contiguous 16 kHz samples to a sink.

    A run of consecutive frames goes through one resampler (libswresample). Where the time stamps
    jump or the format changes, the run ends and the next one is placed by its own time stamp.
    Stereo and 5.1 are mixed down with weights that sum to at most 1, so that nothing clips
    (libswresample's matrix normalised by `rematrix_maxval`; the low-frequency channel is dropped).

    Args:
        zero: the timeline's zero on the file's clock, seconds.
        sink: takes the samples.
        limits: of the duration.
        channel: of stereo sound, to be read alone; None: the mono mix.

    Attributes:
        delivered_samples: samples given to the sink so far.
        recorded: [start, end) of the sound so far that was decoded, in samples; the rest are zeros put in.
    """

    def __init__(
        self, zero: Fraction, sink: SoundSink, limits: MediaLimits, channel: int | None = None
    ) -> None:
        self.delivered_samples = 0
        self.recorded: list[tuple[int, int]] = []
        self._zero = zero
        self._channel = channel
        self._limits = limits
        self._sink = sink
        self._resampler: av.AudioResampler | None = None
        self._reads_alone = False  # the run's channel
        self._format: tuple[str, str, int] | None = None
        self._run_start = Fraction(0)  # timeline seconds
        self._run_samples = 0  # since the run's start, at the source's rate
        self._overlap_samples = 0  # still to drop, at 16 kHz
        self._buffer: list[NDArray[np.float32]] = []  # resampled, not yet given to the sink
        self._buffered_samples = 0

    def add(self, frame: AudioFrame) -> None:
        """Add the next decoded frame; its samples reach the sink now or with a later frame."""
        sound_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or sound_format != self._format or self._jumps(frame):
            start = self._run_start + Fraction(self._run_samples, frame.sample_rate)
            if frame.pts is not None and frame.time_base is not None:
                start = frame.pts * frame.time_base - self._zero
            self._close_run()
            _check_rate(frame.sample_rate)
            self._open_run(start, sound_format)
        self._run_samples += frame.samples
        frame.pts = None  # the run determines the place; a jittering stamp must not reach the filter
        assert self._resampler is not None
        try:
            parts = self._resampler.resample(frame)
        except av.error.FFmpegError as error:
            layout, channels = frame.layout.name, len(frame.layout.channels)
            raise RefusedVideo(
                "unreadable", f"sound of {channels} channels ({layout}), which FFmpeg cannot mix"
            ) from error
        for resampled in parts:
            self._deliver(resampled)

    def _jumps(self, frame: AudioFrame) -> bool:
        """Whether the frame's time stamp differs from the end of the run."""
        if frame.pts is None or frame.time_base is None:
            return False
        # Floats are exact to a nanosecond over a day; fractions would cost as much as the decoding.
        stamp = frame.pts * float(frame.time_base) - float(self._zero)
        expected = float(self._run_start) + self._run_samples / frame.sample_rate
        return abs(stamp - expected) > STAMP_TOLERANCE_SECONDS

    def finish(self, minimum_samples: int = 0) -> None:
        """Deliver what is left in the resampler, then zeros up to `minimum_samples` in all."""
        self._close_run()
        self._pad_until(minimum_samples)

    def _open_run(self, start: Fraction, sound_format: tuple[str, str, int]) -> None:
        self._reads_alone = self._channel is not None and AudioLayout(sound_format[1]).nb_channels == 2
        layout = sound_format[1] if self._reads_alone else "mono"
        self._resampler = av.AudioResampler(
            format="flt", layout=layout, rate=SAMPLE_RATE_HZ, options={"rematrix_maxval": "1.0"}
        )
        self._format, self._run_start, self._run_samples = sound_format, start, 0
        self._limits.check_seconds(start)  # what lies before it is filled with zeros
        place = round(start * SAMPLE_RATE_HZ)
        self._pad_until(place)
        self._overlap_samples = self.delivered_samples - place

    def _close_run(self) -> None:
        if self._resampler is None:
            return
        for resampled in self._resampler.resample(None):
            # A resampler with nothing to do returns its argument, including None.
            if cast("AudioFrame | None", resampled) is not None:
                self._deliver(resampled)
        self._resampler = None
        self._flush()

    def _deliver(self, resampled: AudioFrame) -> None:
        samples = np.asarray(resampled.to_ndarray(), np.float32).reshape(-1)
        if self._reads_alone:
            samples = samples[self._channel :: 2]  # packed
        dropped = min(self._overlap_samples, len(samples))
        self._overlap_samples -= dropped
        self._buffer.append(samples[dropped:])
        self._buffered_samples += len(samples) - dropped
        if self._buffered_samples >= BLOCK_SAMPLES:
            self._flush()

    def _flush(self) -> None:
        """Give the buffered samples to the sink."""
        if self._buffered_samples:
            # A damaged packet may decode to values that are not finite.
            finite = np.nan_to_num(np.concatenate(self._buffer), nan=0.0, posinf=1.0, neginf=-1.0)
            self._note_recorded(len(finite))
            self.delivered_samples += len(finite)
            self._limits.check_seconds(self.delivered_samples / SAMPLE_RATE_HZ)
            self._sink(np.clip(finite, -1.0, 1.0))
        self._buffer, self._buffered_samples = [], 0

    def _note_recorded(self, samples: int) -> None:
        start = self.delivered_samples
        if self.recorded and self.recorded[-1][1] == start:
            start = self.recorded.pop()[0]
        self.recorded.append((start, self.delivered_samples + samples))

    def _pad_until(self, place: int) -> None:
        while self.delivered_samples < place:
            zeros = np.zeros(min(BLOCK_SAMPLES, place - self.delivered_samples), np.float32)
            self.delivered_samples += len(zeros)
            self._sink(zeros)
