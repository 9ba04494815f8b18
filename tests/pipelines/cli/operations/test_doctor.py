import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.operations import doctor
from pipelines.cli.operations.doctor import installed_packages, locked_versions, required_packages

ALL_WELL = (doctor.Diagnosis("Python", "ok", "3.11.2"), doctor.Diagnosis("GPU", "note", "none", "slow"))


def state_of(diagnoses: list[doctor.Diagnosis], subject: str) -> str:
    return next(diagnosis.state for diagnosis in diagnoses if diagnosis.subject == subject)


def test_report_shows_no_password_and_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        doctor.report(as_json=as_json, location="s3://user:PA55WORD@bucket/a\x1b[2J")
        shown = capsys.readouterr().out
        assert "PA55WORD" not in shown
        assert "\x1b[2J" not in shown
        assert "s3://***@bucket" in shown


def test_python_other_than_3_11_is_missing() -> None:
    assert doctor.examine_python((3, 11, 2)).state == "ok"
    assert doctor.examine_python((3, 12, 0)).state == "missing"


def test_packages_in_the_locked_version_are_ok() -> None:
    # torch's own version names its CUDA build, the lock does not
    diagnoses = doctor.examine_packages(frozenset({"torch"}), {"torch": "2.11.0+cu130"}, {"torch": "2.11.0"})
    assert [diagnosis.state for diagnosis in diagnoses] == ["ok"]


def test_required_package_that_is_absent_is_missing_by_name() -> None:
    diagnoses = doctor.examine_packages(frozenset({"av", "torch"}), {"av": "18.1.0"}, {"av": "18.1.0"})
    assert state_of(diagnoses, "Packages") == "missing"
    assert diagnoses[0].value == "not installed: torch"


def test_absent_development_package_and_other_version_are_notes() -> None:
    diagnoses = doctor.examine_packages(
        frozenset({"av"}), {"av": "18.0.0"}, {"av": "18.1.0", "pytest": "9.2.0"}
    )
    assert state_of(diagnoses, "Locked packages") == "note"
    assert state_of(diagnoses, "Versions") == "note"
    assert [diagnosis.value for diagnosis in diagnoses] == [
        "not installed: pytest",
        "av 18.0.0 (locked 18.1.0)",
    ]


def test_project_that_is_not_installed_is_missing() -> None:
    assert [each.state for each in doctor.examine_packages(frozenset(), {}, {})] == ["missing"]


def test_lock_is_read_by_name_and_version(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("# made by uv\nav==18.1.0 \\\n    --hash=sha256:00\nmoto==5.1 ; extra\n")
    assert locked_versions(lock) == {"av": "18.1.0", "moto": "5.1"}
    assert locked_versions(tmp_path / "absent.txt") == {}


def test_this_environment_holds_what_the_project_requires() -> None:
    assert "opencv-contrib-python-headless" in required_packages()
    assert required_packages() <= installed_packages().keys()
    assert required_packages() <= locked_versions(doctor.LOCK).keys()


def test_face_model_lies_in_the_wheel() -> None:
    assert doctor.examine_face_model().state == "ok"


def test_ffmpeg_of_the_package_is_taken_where_path_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    diagnosis = doctor.examine_ffmpeg()
    assert diagnosis.state == "ok"
    assert "there is none on PATH" in diagnosis.value


def test_machine_without_the_drivers_program_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    diagnosis = doctor.examine_gpu()
    assert (diagnosis.state, diagnosis.value) == ("note", "none")
    assert "training" in diagnosis.consequence


def test_gpu_that_torch_cannot_use_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver_program, broken_python = tmp_path / "nvidia-smi", tmp_path / "python"
    driver_program.write_text("#!/bin/sh\necho 'H200, 143771 MiB'\n")
    broken_python.write_text("#!/bin/sh\necho False\n")
    for program in (driver_program, broken_python):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(broken_python))
    diagnosis = doctor.examine_gpu()
    assert (diagnosis.state, diagnosis.value) == ("note", "H200, 143771 MiB, but torch cannot use it")


def test_memory_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tmp_path / "memory.max"
    control.write_text(f"{2 << 30}\n")
    monkeypatch.setattr(doctor, "CGROUP_MEMORY_LIMIT", control)
    diagnosis = doctor.examine_cpu_and_memory()
    assert diagnosis.state == "note"
    assert "2.0 GiB" in diagnosis.value


def test_examine_root_creates_no_folder(tmp_path: Path) -> None:
    root = tmp_path / "not" / "yet"
    diagnosis = doctor.examine_root(str(root))
    assert str(root) in diagnosis.value
    assert "created on first use" in diagnosis.value
    assert not root.parent.exists()


def test_root_below_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    diagnosis = doctor.examine_root(str(tmp_path / "file" / "root"))
    assert diagnosis.state == "missing"
    assert "PDFGC_ROOT" in diagnosis.consequence


def test_root_of_a_kind_that_storage_does_not_know_is_missing() -> None:
    assert doctor.examine_root("gopher://somewhere").state == "missing"


def test_weights_are_listed_and_none_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    assert doctor.examine_weights().state == "ok"
    (tmp_path / "emonet_8").mkdir()
    (tmp_path / "emonet_8" / "emonet_8.pth").write_bytes(b"")
    assert doctor.examine_weights() == doctor.Diagnosis(
        "Pretrained weights (PDFGC_WEIGHTS)", "ok", "emonet_8"
    )
    (tmp_path / "vgg19").mkdir()
    (tmp_path / "vgg19" / "vgg19-dcbb9e9d.pth").write_bytes(b"cut short")
    diagnosis = doctor.examine_weights()
    assert diagnosis.state == "note"
    assert diagnosis.value == "vgg19: vgg19-dcbb9e9d.pth has 9 bytes, expected 574673361"


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("note", 0), ("missing", 1)])
def test_report_fails_only_when_something_needed_is_missing(
    state: doctor.State, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    diagnoses = (*ALL_WELL, doctor.Diagnosis("ffmpeg", state, "somewhere [/bin]", "no video is written"))
    monkeypatch.setattr(doctor, "examine", lambda _location: diagnoses)
    assert doctor.report() == status
    printed = capsys.readouterr().out
    assert "[/bin]" in printed  # shown as it is, not taken for markup
    assert ("Not ready" in printed) == bool(status)


def test_report_as_json_holds_every_diagnosis(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _location: ALL_WELL)
    assert doctor.report(as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ready": True,
        "diagnoses": [
            {"subject": "Python", "state": "ok", "value": "3.11.2", "consequence": ""},
            {"subject": "GPU", "state": "note", "value": "none", "consequence": "slow"},
        ],
    }


def test_import_brings_nothing_heavy() -> None:
    code = (
        "import sys, pipelines.cli.operations.doctor; "
        "print(sorted({'torch', 'mediapipe', 'onnxruntime', 'dagster', 'cv2'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
