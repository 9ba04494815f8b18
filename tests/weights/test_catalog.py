"""The catalog of pretrained weights: complete, unambiguous, consistent with the loaders."""

import re
import subprocess
import sys

import pytest

from models.checkpoint_file import OfficialFile
from models.external.emonet import emonet_file
from models.external.l2cs import L2CS_FILE
from models.external.syncnet import SYNCNET_FILE
from models.external.vgg19 import TORCHVISION_FILE
from models.official import APPEARANCE_FILE, AUDIO_FILE, FACE_RECONSTRUCTION_FILE, GENERATOR_FILE, MOTION_FILE
from models.trunks.residual_trunk import RESNEXT50_FILE
from weights.catalog import ALL_WEIGHTS, PRETRAINED, files_for_setting, pretrained_named


def test_names_are_unique_and_valid_folder_names() -> None:
    assert len(PRETRAINED) == len(ALL_WEIGHTS)
    for row in ALL_WEIGHTS:
        names = [name for file in row.files for name in (file.name, *file.other_names)]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in (row.name, *names))


def test_digests_are_complete_and_match_file_names() -> None:
    for row in ALL_WEIGHTS:
        digests = [file.sha256 for file in row.files] + [row.archive.sha256 if row.archive else None]
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests if digest is not None)
        for file in row.files:
            named = re.search(r"-([0-9a-f]{8})\.pth$", file.name)
            assert named is None or (file.sha256 or file.sha256_start or "").startswith(named[1])


def test_urls_use_https_or_the_download_is_manual() -> None:
    for row in ALL_WEIGHTS:
        urls = [file.url for file in row.files] + [row.archive.url if row.archive else None]
        for url in [row.page, row.licence.link, *urls]:
            assert url is None or url.startswith("https://")
    assert [row.name for row in ALL_WEIGHTS if row.manual_download] == [
        "pdfgc_official", "deep3d_facerecon", "l2cs_gaze360",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "loaders"),
    [
        ("pdfgc_official", [APPEARANCE_FILE, MOTION_FILE, AUDIO_FILE, GENERATOR_FILE]),
        ("deep3d_facerecon", [FACE_RECONSTRUCTION_FILE]),
        ("syncnet_v2", [SYNCNET_FILE]),
        ("vgg19", [TORCHVISION_FILE]),
        ("resnext50", [RESNEXT50_FILE]),
        ("l2cs_gaze360", [L2CS_FILE]),
        ("emonet_8", [emonet_file(8)]),
        ("emonet_5", [emonet_file(5)]),
    ],
)
def test_file_names_match_the_loaders(weights: str, loaders: list[OfficialFile]) -> None:
    called = [(file.name, *file.other_names) for file in PRETRAINED[weights].files]
    assert called == [loader.names for loader in loaders]


def test_torchvision_knows_the_urls_left_to_it() -> None:
    from torchvision.models import get_weight

    left = {file.name: file.torchvision for row in ALL_WEIGHTS for file in row.files if file.torchvision}
    assert set(left) == {
        "vgg19-dcbb9e9d.pth", "resnext50_32x4d-7cdf4587.pth", "alexnet-owt-7be5be79.pth",
    }  # fmt: skip
    for name, torchvision in left.items():
        assert get_weight(torchvision).url.endswith(f"/{name}")


def test_files_for_setting_refuses_other_weights() -> None:
    assert [file.name for file in files_for_setting(PRETRAINED["buffalo_l"], "csim_weights")] == [
        "w600k_r50.onnx"
    ]
    with pytest.raises(ValueError, match=r"^vgg19_weights does not take syncnet_v2; it takes vgg19$"):
        files_for_setting(PRETRAINED["syncnet_v2"], "vgg19_weights")


def test_pretrained_named_lists_the_known_names() -> None:
    with pytest.raises(ValueError, match="no weights 'vgg'; known are pdfgc_official, deep3d_facerecon, "):
        pretrained_named("vgg")


def test_resolve_imports_neither_torch_nor_requests() -> None:
    code = (
        "import sys, weights.resolve; "
        "print([name for name in ('torch', 'requests', 'urllib3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
