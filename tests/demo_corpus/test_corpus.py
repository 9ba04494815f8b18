from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from demo_corpus.corpus import CorpusSettings, make_corpus, settings_fingerprint
from demo_corpus.truth import TRUTH_SCHEMA

SMALL = CorpusSettings(people=1, videos=1, seconds_per_video=0.4, side_px=128, workers=0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, SMALL)
    return folder


def test_same_settings_give_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    for video in make_corpus(tmp_path, SMALL):
        for path in (video.video, video.truth):
            assert path.read_bytes() == (corpus / path.relative_to(tmp_path)).read_bytes()


def test_missing_truth_renders_the_video_again(corpus: Path) -> None:
    (video,) = make_corpus(corpus, SMALL)
    before = video.video.stat().st_mtime_ns
    make_corpus(corpus, SMALL)
    assert video.video.stat().st_mtime_ns == before
    truth = video.truth.read_bytes()
    video.truth.unlink()
    make_corpus(corpus, SMALL)
    assert video.video.stat().st_mtime_ns > before
    assert video.truth.read_bytes() == truth


def test_truth_has_one_row_per_frame(corpus: Path) -> None:
    table = pq.read_table(corpus / "demo-0000" / "talk-0.truth.parquet")
    assert table.num_rows == 10
    assert table.column_names == TRUTH_SCHEMA.names
    assert all((field.metadata or {}).get(b"description") for field in table.schema)
    assert table["time_seconds"].to_pylist() == pytest.approx([frame / 25 for frame in range(10)])


def test_fingerprint_covers_what_decides_a_video() -> None:
    assert settings_fingerprint(SMALL) == settings_fingerprint(
        CorpusSettings(people=2, videos=3, seconds_per_video=0.4, side_px=128, workers=2)
    )
    assert settings_fingerprint(SMALL) != settings_fingerprint(
        CorpusSettings(seed=1, people=1, videos=1, seconds_per_video=0.4, side_px=128)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CorpusSettings(side_px=129), "129"),
        (lambda: CorpusSettings(people=0), "people must be >= 1, got 0"),
        (lambda: CorpusSettings(seconds_per_video=0.0), r"0\.0"),
    ],
)
def test_corpus_settings_refuse_values_out_of_range(make: Callable[[], CorpusSettings], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
