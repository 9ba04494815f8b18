"""The base class of settings."""

import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, model_validator

from storage.fingerprint import fingerprint, to_json_value
from storage.settings import Settings, SettingsError


class Crop(Settings):
    side_px: int = Field(default=224, ge=64, le=512, description="Side")
    mode: Literal["official", "square"] = "official"
    scale: float = Field(default=1, gt=0)


class Job(Settings):
    name: str
    crop: Crop = Crop()
    sizes: tuple[int, ...] = (1, 2)
    folder: Path | None = None

    @model_validator(mode="after")
    def _check_name(self) -> "Job":
        if self.name == str(self.folder):
            raise ValueError(f"name and folder must differ, got {self.name!r}")
        return self


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": {"side_px": 5}}, "crop.side_px must be >= 64, got 5"),
        ({"crop": {"side_px": 513}}, "crop.side_px must be <= 512, got 513"),
        ({"crop": {"side_px": 64.5}}, "crop.side_px must be a valid integer, got 64.5"),
        ({"crop": {"scale": 0}}, "crop.scale must be > 0, got 0"),
        ({"crop": {"scale": float("nan")}}, "crop.scale must be a finite number, got nan"),
        ({"crop": {"mode": "round"}}, "crop.mode must be 'official' or 'square', got 'round'"),
        ({"crop": {"sid_px": 5}}, "crop.sid_px is not a setting; did you mean side_px?"),
        ({"folder": "a"}, "name and folder must differ, got 'a'"),
        ({"name": None, "size": 1}, "name must be a valid string, got None; size is not a setting; did you"),
    ],
)
def test_settings_error_is_one_line(values: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"name": "a"} | values
    for build in (lambda: Job(**arguments), lambda: Job.model_validate(arguments)):
        with pytest.raises(SettingsError) as error:
            build()
        assert str(error.value).startswith(message)


def test_settings_error_names_required_fields() -> None:
    with pytest.raises(SettingsError, match=r"^name is required$"):
        Job.model_validate({})


def test_settings_error_survives_a_process_pool() -> None:
    error = SettingsError([(("crop", "side_px"), " must be >= 64, got 5")])
    assert str(pickle.loads(pickle.dumps(error))) == "crop.side_px must be >= 64, got 5"  # noqa: S301


def test_replace_checks_the_new_values() -> None:
    job = Job(name="a")
    assert job.replace(name="b", crop=job.crop.replace(side_px=128)) == Job(name="b", crop=Crop(side_px=128))
    with pytest.raises(SettingsError, match=r"^side_px must be >= 64, got 5$"):
        job.crop.replace(side_px=5)
    with pytest.raises(SettingsError, match=r"^nam is not a setting; did you mean name"):
        job.replace(nam="b")


def test_settings_are_hashable_immutable_and_picklable() -> None:
    job = Job(name="a", folder=Path("f"))
    assert hash(job) == hash(Job(name="a", folder=Path("f")))
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301
    with pytest.raises(ValueError, match="frozen"):
        job.name = "b"


def test_settings_round_trip_through_json() -> None:
    job = Job(name="a", sizes=(3,), folder=Path("f"))
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_fingerprint_of_settings_is_that_of_their_values() -> None:
    values = {"side_px": 224, "mode": "official", "scale": 1.0}
    assert to_json_value(Crop()) == values
    assert fingerprint(Crop()) == fingerprint(values)
