"""Forms made from settings classes."""

from pathlib import Path
from typing import Literal, Self

import pytest
from pydantic import Field, model_validator

from pipelines.config_form import form_of, settings_from
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.stored_catalog import SourceSettings
from storage.settings import Settings


class Inner(Settings):
    size: int = Field(default=3, ge=1, description="how large")


class Outer(Settings):
    mode: Literal["fast", "good"] = "good"
    inner: Inner = Inner()
    names: tuple[str, ...] = ("a",)

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.mode == "fast" and self.inner.size > 5:
            raise ValueError(f"mode fast takes a size of at most 5, not {self.inner.size}")
        return self


def test_an_untouched_form_gives_the_defaults() -> None:
    assert settings_from(Outer, form_of(Outer)()) == Outer()
    assert settings_from(PreprocessingSettings, form_of(PreprocessingSettings)()) == PreprocessingSettings()
    assert settings_from(SourceSettings, form_of(SourceSettings)()) == SourceSettings()


def test_filled_fields_arrive() -> None:
    form = form_of(Outer)(mode="fast", inner={"size": 5}, names=["b", "c"])
    assert settings_from(Outer, form) == Outer(mode="fast", inner=Inner(size=5), names=("b", "c"))


def test_descriptions_and_bounds_come_from_the_settings() -> None:
    size = form_of(Inner).model_fields["size"]
    assert size.description == "how large (>= 1)"
    with pytest.raises(ValueError, match="size must be >= 1, got 0"):
        settings_from(Inner, form_of(Inner)(size=0))


def test_the_settings_refuse_what_they_cannot_take() -> None:
    with pytest.raises(ValueError, match="at most 5, not 6"):
        settings_from(Outer, form_of(Outer)(mode="fast", inner={"size": 6}))


def test_a_field_that_no_form_can_show_is_named() -> None:
    class Odd(Settings):
        what: bytes = b""

    with pytest.raises(TypeError, match=r"Odd\.what"):
        form_of(Odd)


def test_a_path_is_a_line_of_text_and_must_be_given_where_there_is_no_default() -> None:
    class Files(Settings):
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
    assert settings_from(Files, form(source="~/a.mp4")) == Files(source=Path.home() / "a.mp4")
    filled = form(source="a.mp4", target="b.mp4", mode="fast")
    assert settings_from(Files, filled) == Files(source=Path("a.mp4"), target=Path("b.mp4"), mode="fast")
    with pytest.raises(ValueError, match="source is required"):
        settings_from(Files, form(source=""))
