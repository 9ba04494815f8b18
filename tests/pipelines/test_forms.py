"""Dagster config and resource classes made from settings classes."""

import math
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from dagster import DagsterInvalidConfigError, Definitions, asset, define_asset_job, job, op
from pydantic import Field, model_validator

from pipelines.definitions import definitions
from pipelines.forms import config_class, in_degrees, in_groups, resource_class
from pipelines.resources import PreprocessingResource, SourcesResource, TrainingResource
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.stored_catalog import SourceSettings
from storage.settings import Settings, SettingsError
from training.jobs.config import TrainingConfig


class Inner(Settings):
    size: int = Field(default=3, ge=1, description="Side in px")


class Outer(Settings):
    mode: Literal["fast", "good"] = "good"
    inner: Inner = Inner()
    names: tuple[str, ...] = ("a",)

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.mode == "fast" and self.inner.size > 5:
            raise ValueError(f"inner.size must be <= 5 in mode fast, got {self.inner.size}")
        return self


class Files(Settings):
    source: Path
    target: Path | None = None
    mode: Literal["fast", "good"] | None = None
    kept: int = 4


OuterConfig = config_class(Outer)
FilesConfig = config_class(Files, left_out=("kept",))


def outer(values: dict[str, Any]) -> Outer:
    return OuterConfig.model_validate(values).to_settings()


def test_empty_form_holds_the_defaults() -> None:
    assert outer({}) == Outer()
    assert PreprocessingResource().to_settings() == PreprocessingSettings()
    assert SourcesResource().to_settings() == SourceSettings()


def test_form_values_reach_the_settings() -> None:
    values = {"mode": "fast", "inner": {"size": 5}, "names": ["b", "c"]}
    assert outer(values) == Outer(mode="fast", inner=Inner(size=5), names=("b", "c"))


def test_angles_are_asked_for_in_degrees() -> None:
    form = PreprocessingResource.model_fields["clips"].get_default(call_default_factory=True)
    assert form.maximum_head_angle_degrees == 60.0
    field = type(form).model_fields["maximum_head_angle_degrees"]
    assert str(field.description).endswith("(0 to 180 degrees)")
    settings = PreprocessingResource.model_validate(
        {"clips": {"maximum_head_angle_degrees": 45.0}}
    ).to_settings()
    assert settings.clips.maximum_head_angle_rad == math.radians(45.0)
    # What a plan keeps in radians comes back through the form of its runs to the last bit.
    changes = {"clips": {"maximum_head_angle_rad": math.radians(45.0), "minimum_sharpness": 9.0}}
    assert in_degrees(changes) == {"clips": {"maximum_head_angle_degrees": 45.0, "minimum_sharpness": 9.0}}
    with pytest.raises(SettingsError, match=r"clips.maximum_head_angle_rad must be <= 3.14"):
        PreprocessingResource.model_validate({"clips": {"maximum_head_angle_degrees": 200.0}}).to_settings()


@pytest.mark.parametrize("angle_rad", [1.0, 0.1, math.pi / 7])
def test_angles_left_as_they_are_keep_every_bit(monkeypatch: pytest.MonkeyPatch, angle_rad: float) -> None:
    monkeypatch.setenv("PDFGC__PREPROCESSING__CLIPS__MAXIMUM_HEAD_ANGLE_RAD", repr(angle_rad))
    form = resource_class(PreprocessingSettings, degrees=True)
    assert form().to_settings().clips.maximum_head_angle_rad == angle_rad


def test_form_shows_description_bounds_and_choices() -> None:
    assert config_class(Inner).model_fields["size"].description == "Side in px (>= 1)"
    device = TrainingResource.model_fields["device"].description
    assert device == "Device; auto: the GPU if there is one (auto, cpu, cuda)"


def test_grouped_fields_stand_under_the_name_of_their_group() -> None:
    form = TrainingResource.model_validate({"pretrained": {"vgg19_weights": "random"}, "steps": 7})
    assert form.to_config("a") == TrainingConfig(run="a", steps=7, vgg19_weights="random")
    assert not {"vgg19_weights", "precision"} & set(TrainingResource.model_fields)
    config = TrainingConfig(seed=3, steps=7)
    values = in_groups(TrainingConfig, config.model_dump(exclude={"run"}))
    assert values["advanced"]["seed"] == 3
    assert TrainingResource.model_validate(values).to_config("default") == config


def test_each_step_s_form_has_the_step_s_own_settings() -> None:
    schema: Any = definitions.resolve_job_def("preprocess").run_config_schema.config_type
    config = schema.fields["ops"].config_type
    fields = config.fields["clips"].config_type.fields["config"].config_type.fields
    assert set(fields) >= {"minimum_face_size_px", "maximum_head_angle_degrees"}
    assert "tracking" not in fields
    assert "tracking" in config.fields["face_tracks"].config_type.fields["config"].config_type.fields


def test_settings_refuse_form_values_by_path() -> None:
    with pytest.raises(ValueError, match=r"^inner\.size must be >= 1, got 0$"):
        outer({"inner": {"size": 0}})
    with pytest.raises(ValueError, match=r"^inner\.size must be <= 5 in mode fast, got 6$"):
        outer({"mode": "fast", "inner": {"size": 6}})


def test_form_names_a_field_that_dagster_cannot_show() -> None:
    class Odd(Settings):
        what: bytes = b""

    with pytest.raises(TypeError, match="what: Dagster has no form for"):
        config_class(Odd)


def test_form_lists_the_choices_of_a_table() -> None:
    class Labels(Settings):
        backend: str = Field(default="b", json_schema_extra={"enum": ["a", "b"]})

    form = config_class(Labels)
    enumeration: Any = form.model_fields["backend"].annotation
    assert [member.value for member in enumeration] == ["a", "b"]
    assert form.model_validate({"backend": "a"}).to_settings() == Labels(backend="a")


def test_form_takes_paths_as_text() -> None:
    required = {name: field.is_required() for name, field in FilesConfig.model_fields.items()}
    assert not any(required.values())  # the launchpad shows only lines with a default
    filled = FilesConfig.model_validate({"source": "~/a.mp4", "target": "b.mp4", "mode": "fast"})
    assert filled.to_settings() == Files(source=Path.home() / "a.mp4", target=Path("b.mp4"), mode="fast")
    with pytest.raises(ValueError, match=r"^source is required$"):
        FilesConfig.model_validate({"source": ""}).to_settings()


class OuterResource(resource_class(Outer)):
    """A resource with the fields of Outer."""


def test_dagster_offers_choices_and_passes_values() -> None:
    seen: list[Outer] = []

    @asset
    def thing(settings: OuterResource) -> None:
        seen.append(settings.to_settings())

    definitions = Definitions(
        [thing], resources={"settings": OuterResource()}, jobs=[define_asset_job("make", "*")]
    )
    job = definitions.resolve_job_def("make")

    def run(config: dict[str, Any]) -> None:
        job.execute_in_process(run_config={"resources": {"settings": {"config": config}}})

    run({"mode": "fast", "inner": {"size": 4}})
    assert seen == [Outer(mode="fast", inner=Inner(size=4))]
    with pytest.raises(DagsterInvalidConfigError, match=r"not in enum type mode \(fast, good\) got huge"):
        run({"mode": "huge"})


class Login(Settings):
    name: str = "a"
    port: int = 1
    is_open: bool = False


class LoginResource(resource_class(Login)):
    """A resource with the fields of Login."""


LoginConfig = config_class(Login)


@pytest.mark.parametrize("field", ["name", "port", "is_open"])
@pytest.mark.parametrize("place", ["resources", "ops"])
def test_forms_take_nothing_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, field: str, place: str
) -> None:
    monkeypatch.setenv("A_PASSWORD", "hunter2")

    @op
    def look(login: LoginResource, config: LoginConfig) -> None:  # type: ignore[valid-type]
        raise AssertionError(f"{login} {config}")

    @job(resource_defs={"login": LoginResource()})
    def read() -> None:
        look()

    name = {"resources": "login", "ops": "look"}[place]
    values = {place: {name: {"config": {field: {"env": "A_PASSWORD"}}}}}
    with pytest.raises(DagsterInvalidConfigError, match="is not valid for expected type") as error:
        read.execute_in_process(run_config=values)
    assert "hunter2" not in str(error.value)


def test_partitioned_resource_takes_the_run_from_the_partition() -> None:
    resource = TrainingResource.model_validate({"steps": 7})
    assert "run" not in type(resource).model_fields
    assert resource.to_config("mine") == TrainingConfig(run="mine", steps=7)
