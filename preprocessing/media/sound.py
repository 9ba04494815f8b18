"""Decoded sound put on the timeline: mono, 16 kHz, sample n at n/16000 s, gaps filled with zeros."""

from collections.abc import Callable
from fractions import Fraction
from typing import Final, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from preprocessing.schema import SAMPLE_RATE_HZ

SoundSink = Callable[[NDArray[np.float32]], None]

# Time stamps rounded to 1 ms (Matroska) or 90 kHz jitter around the true place; following them
# would tear the sound. Beyond this, the stamp is believed: it is a gap, an overlap or a drift.
STAMP_TOLERANCE_SECONDS: Final = 0.010
BLOCK: Final = SAMPLE_RATE_HZ  # samples given to the sink at once: a call for each packet costs CPU time


class SoundTrack:
    """Takes decoded sound in the order of decoding, gives 16 kHz samples to a sink without a hole.

    A run of frames that follow one another goes through one resampler (libswresample); where the
    time stamps jump, or the format changes, the run ends and the next one is put where its own
    stamp says. Stereo and 5.1 are mixed down with weights that sum to at most 1, so that nothing
    clips (libswresample's matrix normalised by `rematrix_maxval`; the low-frequency channel is left
    out).
    """

    def __init__(self, zero: Fraction, sink: SoundSink) -> None:
        self.delivered_samples = 0
        self._zero = zero
        self._sink = sink
        self._resampler: av.AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._run_start = Fraction(0)  # timeline seconds
        self._run_samples = 0  # taken since the run's start, at the source's rate
        self._overlap_samples = 0  # still to be dropped, at 16 kHz
        self._waiting: list[NDArray[np.float32]] = []  # made, not yet given to the sink
        self._waiting_samples = 0

    def add(self, frame: AudioFrame) -> None:
        """Take the next decoded frame; its samples reach the sink now or with a later frame."""
        sound_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or sound_format != self._format or self._jumps(frame):
            start = self._run_start + Fraction(self._run_samples, frame.sample_rate)
            if frame.pts is not None and frame.time_base is not None:
                start = frame.pts * frame.time_base - self._zero
            self._close_run()
            self._open_run(start, sound_format)
        self._run_samples += frame.samples
        frame.pts = None  # the place is known from the run; a jittering stamp must not reach the filter
        assert self._resampler is not None
        for resampled in self._resampler.resample(frame):
            self._deliver(resampled)

    def _jumps(self, frame: AudioFrame) -> bool:
        """Whether the frame's stamp says another place than behind the run's samples."""
        if frame.pts is None or frame.time_base is None:
            return False
        # Floats: a day's seconds hold to a nanosecond, and fractions cost as much as the decoding.
        stamp = frame.pts * float(frame.time_base) - float(self._zero)
        expected = float(self._run_start) + self._run_samples / frame.sample_rate
        return abs(stamp - expected) > STAMP_TOLERANCE_SECONDS

    def finish(self, least_samples: int = 0) -> None:
        """Deliver what is still inside the resampler, then zeros until `least_samples` in all."""
        self._close_run()
        self._pad_until(least_samples)

    def _open_run(self, start: Fraction, sound_format: tuple[str, str, int]) -> None:
        self._resampler = av.AudioResampler(
            format="flt", layout="mono", rate=SAMPLE_RATE_HZ, options={"rematrix_maxval": "1.0"}
        )
        self._format, self._run_start, self._run_samples = sound_format, start, 0
        place = round(start * SAMPLE_RATE_HZ)
        self._pad_until(place)
        self._overlap_samples = self.delivered_samples - place

    def _close_run(self) -> None:
        if self._resampler is None:
            return
        for resampled in self._resampler.resample(None):
            # A resampler with nothing to do hands back what it was given: the None too.
            if cast("AudioFrame | None", resampled) is not None:
                self._deliver(resampled)
        self._resampler = None
        self._hand_over()

    def _deliver(self, resampled: AudioFrame) -> None:
        samples = np.asarray(resampled.to_ndarray(), np.float32).reshape(-1)
        dropped = min(self._overlap_samples, len(samples))
        self._overlap_samples -= dropped
        self._waiting.append(samples[dropped:])
        self._waiting_samples += len(samples) - dropped
        if self._waiting_samples >= BLOCK:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give what waits to the sink."""
        if self._waiting_samples:
            # A damaged packet may decode to values that are not finite.
            finite = np.nan_to_num(np.concatenate(self._waiting), nan=0.0, posinf=1.0, neginf=-1.0)
            self.delivered_samples += len(finite)
            self._sink(np.clip(finite, -1.0, 1.0))
        self._waiting, self._waiting_samples = [], 0

    def _pad_until(self, place: int) -> None:
        while self.delivered_samples < place:
            zeros = np.zeros(min(BLOCK, place - self.delivered_samples), np.float32)
            self.delivered_samples += len(zeros)
            self._sink(zeros)
