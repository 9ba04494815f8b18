import io

import numpy as np
import pytest
from PIL import Image

from preprocessing.pictures.drawing import (
    TEXT_SIZE_PX,
    Cell,
    Line,
    draw_message,
    draw_sheet,
    encode_picture,
    evenly,
    font,
    open_view,
    shorten,
    spread,
)


def noise(side: int) -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8))


@pytest.mark.parametrize("bound", [60_000, 5_000, 900])
def test_encode_picture_keeps_its_bound(bound: int) -> None:
    data = encode_picture(noise(400), bound)
    assert len(data) <= bound
    assert Image.open(io.BytesIO(data)).format == "JPEG"


def test_encode_picture_refuses_an_impossible_bound() -> None:
    with pytest.raises(ValueError, match="no picture fits into 10 bytes"):
        encode_picture(noise(64), 10)


def test_spread_takes_from_every_group_first() -> None:
    items = ["a1", "a2", "a3", "b1", "c1", "c2"]
    assert spread(items, lambda item: item[0], 4) == ["a1", "a2", "b1", "c1"]
    assert spread(items, lambda item: item[0], 99) == items
    assert spread(list[str](), lambda item: item[0], 3) == []


def test_spread_chooses_groups_evenly() -> None:
    assert spread(list("abcdef"), str, 3) == ["a", "c", "e"]
    assert evenly([0, 1, 2, 3, 4], 2) == [0, 2]


def test_shorten_drops_the_middle() -> None:
    short = shorten("0123456789abcdef-t00-f0000064", 90)
    assert font(TEXT_SIZE_PX).getlength(short) <= 90
    assert short.startswith("012")
    assert short.endswith("064")
    assert "…" in short
    assert shorten("anna", 90) == "anna"


@pytest.mark.parametrize("name", ["Ångström", "Ирина", "字", "🙂", "a\nb\tc", ""])
def test_captions_accept_any_letters(name: str) -> None:
    sheet = draw_sheet(name, (name,), [Cell(noise(40), (Line(name),))], columns=2)
    assert encode_picture(sheet)
    assert draw_message(name, name)


def test_view_places_crop_pixels() -> None:
    image = Image.new("RGB", (224, 224))
    image.putpixel((100, 60), (255, 255, 255))
    view = open_view(image, (90, 50, 110, 70), 200)
    (place,) = view.place(np.array([[100.0, 60.0]]))
    assert place == (105.0, 105.0)
    assert np.asarray(view.image)[105, 105].min() > 200


def test_sheet_wraps_its_explanation() -> None:
    cell = Cell(noise(90), (Line("a"),))
    short = draw_sheet("t", ("short",), [cell], columns=1)
    long = draw_sheet("t", ("an explanation of more than one line",), [cell], columns=1)
    assert (long.width, short.width) == (106, 106)
    assert (long.height - short.height) % 14 == 0
    assert long.height > short.height
