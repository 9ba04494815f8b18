"""What the files of pretrained weights must hold, for `pdfgc verify`."""

from storage.fingerprint import file_sha256
from storage.integrity.reading import Expectation
from weights.catalog import ALL_WEIGHTS
from weights.folder import locate, read_record, weights_folder


def expect_weights() -> list[Expectation]:
    """Every file in the folder of weights whose sha256 the catalog or its record knows.

    Raises:
        ValueError: a record cannot be read.
    """
    folder = weights_folder()
    expected: list[Expectation] = []
    for weights in ALL_WEIGHTS:
        for file in weights.files:
            path = locate(weights, file, folder)
            if path is None:
                continue
            recorded = read_record(weights, folder).get(file.name)
            sha256 = file.sha256 or (recorded.sha256 if recorded is not None else None)
            if sha256 is not None:
                expected.append(
                    Expectation(
                        str(path),
                        sha256,
                        path.stat().st_size,
                        "weights",
                        lambda path=path: file_sha256(path),
                        mend=f"remove it and run: pdfgc weights fetch {weights.name}",
                    )
                )
    return expected
