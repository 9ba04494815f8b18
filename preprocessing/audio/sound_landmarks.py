"""Sound landmarks: hashes of spectral peaks by which copies of a recording are found.

A copy that was encoded again, cut, or made louder keeps most of its spectrum's peaks and their distances. A
landmark is three peaks that follow each other; its hash holds their frequencies and the times between them.
Which landmarks of a long sound are kept depends on their hashes alone, so copies keep the same ones. The idea
is that of Wang, "An industrial-strength audio search algorithm" (ISMIR 2003).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from preprocessing.schema import SAMPLE_RATE_HZ
from preprocessing.table_schema import column, table_schema

VERSION: Final = "1"
WINDOW_SAMPLES: Final = 1024  # 64 ms
HOP_SAMPLES: Final = 128  # 8 ms: a copy's spectra lie at other places, by half of this on the average
BLOCK_SPECTRA: Final = 2**12  # computed at once: 33 s
FIRST_BIN: Final = 10  # 156 Hz: above the mains' hum
LAST_BIN: Final = 256  # 4 kHz: what every codec keeps
PEAK_BINS: Final = 6  # a peak is the highest within so many bins
PEAK_SPECTRA: Final = 8  # and spectra, on either side
PEAK_DB: Final = 30.0  # not lower than this below the loudest of its block
SILENT_DB: Final = -60.0
NEXT_PEAKS: Final = 4  # that a peak is combined with
BINS_A_STEP: Final = 2  # of a hash: 31 Hz
SPECTRA_A_STEP: Final = 4  # of a hash: 32 ms
LONGEST_STEP: Final = 15  # between two peaks of a landmark
KEPT_SHARE: Final = 2  # one landmark of so many is kept, by its hash, of a sound that is not short
SHORT_SECONDS: Final = 30.0
TIME_SECONDS: Final = SPECTRA_A_STEP * HOP_SAMPLES / SAMPLE_RATE_HZ  # unit of a landmark's time

LANDMARKS_TABLE: Final = "recording_landmarks.parquet"
MOTION_BIT: Final = 1 << 31  # of the hashes of `clips.motion_landmarks`, which are in the same table
LANDMARKS_SCHEMA: Final = table_schema(
    column(
        "hash",
        pa.uint32(),
        "of three peaks of the spectrum, or of four events of a face; ascending",
    ),
    column("video_id", pa.dictionary(pa.int32(), pa.string()), "first 16 hex digits of the source's sha256"),
    column("time", pa.int32(), "of the first peak, in units of 32 ms, or of the first event, in frames"),
)


def find_landmarks(sound: NDArray[np.float32]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Landmarks of a mono 16 kHz sound [N], about 50 a second of speech, 25 in long sounds.

    Returns:
        Hashes [L], ascending, and the times [L] of their first peaks in units of `TIME_SECONDS`.
    """
    spectrum, bins = _peaks(sound)
    hashes, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for one in range(1, NEXT_PEAKS + 1):
        for other in range(one + 1, NEXT_PEAKS + 2):
            count = max(0, len(spectrum) - other)
            first, second, third = (slice(step, step + count) for step in (0, one, other))
            early = _rounded(spectrum[second] - spectrum[first])
            late = _rounded(spectrum[third] - spectrum[second])
            heights = [bins[each] // BINS_A_STEP for each in (first, second, third)]
            is_landmark = (early > 0) & (late > 0) & (early <= LONGEST_STEP) & (late <= LONGEST_STEP)
            # A steady tone has the same peaks in every recording.
            is_landmark &= (abs(heights[0] - heights[1]) > 1) & (abs(heights[1] - heights[2]) > 1)
            packed = (heights[0] << 24) | (heights[1] << 16) | (heights[2] << 8) | (early << 4) | late
            hashes.append(packed[is_landmark])
            times.append(spectrum[first][is_landmark] // SPECTRA_A_STEP)
    packed, when = np.concatenate(hashes).astype(np.uint32), np.concatenate(times).astype(np.int32)
    mixed = (packed * np.uint32(2654435761)) >> np.uint32(16)  # Knuth's multiplicative hash
    kept = (mixed % KEPT_SHARE == 0) | (len(sound) <= SHORT_SECONDS * SAMPLE_RATE_HZ)
    order = np.lexsort((when[kept], packed[kept]))
    return packed[kept][order], when[kept][order]


def write_landmarks(
    of_videos: Mapping[str, tuple[NDArray[np.uint32], NDArray[np.int32]]], folder: Path
) -> None:
    """Write the landmarks of a batch's videos, by video id."""
    ids = sorted(of_videos)
    hashes = np.concatenate([np.zeros(0, np.uint32), *(of_videos[each][0] for each in ids)])
    times = np.concatenate([np.zeros(0, np.int32), *(of_videos[each][1] for each in ids)])
    videos = np.repeat(np.arange(len(ids), dtype=np.int32), [len(of_videos[each][0]) for each in ids])
    order = np.lexsort((times, videos, hashes))
    names = pa.DictionaryArray.from_arrays(pa.array(videos[order]), pa.array(ids, pa.string()))
    table = pa.table([pa.array(hashes[order]), names, pa.array(times[order])], schema=LANDMARKS_SCHEMA)
    pq.write_table(table, folder / LANDMARKS_TABLE, row_group_size=2**14)


def _rounded(spectra: NDArray[np.int64]) -> NDArray[np.int64]:
    return (spectra + SPECTRA_A_STEP // 2) // SPECTRA_A_STEP


def _peaks(sound: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spectrum and bin of each peak, in the order of time, then of frequency."""
    from scipy.ndimage import maximum_filter

    count = (len(sound) - WINDOW_SAMPLES) // HOP_SAMPLES + 1
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    window = np.hanning(WINDOW_SAMPLES).astype(np.float32)
    size = (2 * PEAK_SPECTRA + 1, 2 * PEAK_BINS + 1)
    for start in range(0, count, BLOCK_SPECTRA):
        view = np.lib.stride_tricks.sliding_window_view(sound, WINDOW_SAMPLES)[::HOP_SAMPLES]
        spectra = np.abs(np.fft.rfft(view[start : start + BLOCK_SPECTRA] * window))[:, FIRST_BIN:LAST_BIN]
        level = 20.0 * np.log10(spectra.astype(np.float32) + 1e-6)
        is_peak = level == maximum_filter(level, size)
        is_peak &= level > max(float(level.max()) - PEAK_DB, SILENT_DB)
        spectrum, bins = np.nonzero(is_peak)
        found.append((spectrum.astype(np.int64) + start, bins.astype(np.int64)))
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])
