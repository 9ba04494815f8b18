"""Forms made from settings dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from pipelines.config_form import form_of, settings_from
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.source_videos import SourceSettings


@dataclass(frozen=True)
class Inner:
    size: int = field(default=3, metadata={"description": "how large", "minimum": 1})


@dataclass(frozen=True)
class Outer:
    mode: Literal["fast", "good"] = "good"
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ("a",)

    def __post_init__(self) -> None:
        if self.mode == "fast" and self.inner.size > 5:
            raise ValueError(f"mode fast takes a size of at most 5, not {self.inner.size}")


def test_an_untouched_form_gives_the_defaults() -> None:
    assert settings_from(Outer, form_of(Outer)()) == Outer()
    assert settings_from(PreprocessingSettings, form_of(PreprocessingSettings)()) == PreprocessingSettings()
    assert settings_from(SourceSettings, form_of(SourceSettings)()) == SourceSettings()


def test_filled_fields_arrive() -> None:
    form = form_of(Outer)(mode="fast", inner={"size": 5}, names=["b", "c"])
    assert settings_from(Outer, form) == Outer("fast", Inner(5), ("b", "c"))


def test_descriptions_and_bounds_come_from_the_dataclass() -> None:
    size = form_of(Inner).model_fields["size"]
    assert size.description == "how large"
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        form_of(Inner)(size=0)


def test_the_dataclass_refuses_what_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="at most 5, not 6"):
        settings_from(Outer, form_of(Outer)(mode="fast", inner={"size": 6}))


def test_a_field_that_no_form_can_show_is_named() -> None:
    @dataclass(frozen=True)
    class Odd:
        what: bytes = b""

    with pytest.raises(TypeError, match=r"Odd\.what"):
        form_of(Odd)


def test_a_path_is_a_line_of_text_and_must_be_given_where_there_is_no_default() -> None:
    @dataclass(frozen=True)
    class Files:
        source: Path
        target: Path | None = None
        mode: Literal["fast", "good"] | None = None
        kept: int = 4

    form = form_of(Files, left_out=("kept",))
    assert {name: entry.is_required() for name, entry in form.model_fields.items()} == {
        "source": True,
        "target": False,
        "mode": False,
    }
    assert settings_from(Files, form(source="~/a.mp4")) == Files(Path.home() / "a.mp4")
    filled = form(source="a.mp4", target="b.mp4", mode="fast")
    assert settings_from(Files, filled) == Files(Path("a.mp4"), Path("b.mp4"), "fast")
    with pytest.raises(ValueError, match="source is empty, need a path"):
        settings_from(Files, form(source=""))
