"""Which picture is at which place: values worked out by hand."""

from fractions import Fraction

import pytest

from preprocessing.media.timeline import (
    PlaceCounter,
    first_place,
    places_until_end,
    places_until_next,
    timeline_zero,
)

MS = Fraction(1, 1000)


def test_timeline_zero_is_on_the_pictures_grid() -> None:
    assert timeline_zero(Fraction(0), Fraction(0)) == 0
    assert timeline_zero(500 * MS, 600 * MS) == 500 * MS
    assert timeline_zero(345 * MS, 0 * MS) == -15 * MS  # 9 places of 40 ms before the picture
    assert timeline_zero(360 * MS, 0 * MS) == 0


def test_places_until_next_takes_the_nearest() -> None:
    # 30 fps: the middle between 33.3 and 66.7 ms is 50 ms, so place 1 (40 ms) is the first picture's.
    assert places_until_next(1, Fraction(1, 30), Fraction(2, 30)) == range(1, 2)
    # 50 fps: the middle between 20 and 40 ms is 30 ms: no place for the picture at 20 ms.
    assert places_until_next(1, 20 * MS, 40 * MS) == range(1, 1)


def test_places_until_next_repeats_in_a_gap() -> None:
    # Until 980 ms: places 0 (0 ms) to 24 (960 ms); place 25 is the next picture's.
    assert places_until_next(0, 0 * MS, 1000 * MS) == range(25)
    assert places_until_next(0, 0 * MS, 1019 * MS) == range(25)
    assert places_until_next(0, 0 * MS, 1021 * MS) == range(26)


def test_places_until_end_takes_half_covered_places() -> None:
    assert places_until_end(0, 40 * MS) == range(1)
    assert places_until_end(0, 59 * MS) == range(1)
    assert places_until_end(0, 60 * MS) == range(2)
    assert places_until_end(3, 40 * MS) == range(3, 3)


def test_first_place_is_at_most_20_ms_early() -> None:
    assert [first_place(time * MS) for time in (0, 20, 21, 60)] == [0, 0, 1, 1]


def test_place_counter_leaves_no_hole() -> None:
    counter = PlaceCounter()
    places = [place for number in range(24) for place in counter.advance(Fraction(number, 24))]
    places += counter.finish(Fraction(1, 24))
    assert places == list(range(25))


def test_place_counter_refuses_backward_time() -> None:
    counter = PlaceCounter()
    counter.advance(Fraction(1))
    with pytest.raises(ValueError, match=r"at 1\.0 s must not follow"):
        counter.advance(Fraction(1))
