"""A file with a checksum is read as it was written, or refused; one without is of before and read as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.storage.damages import every_bit

from transfix.storage import checksums

CONTENT: dict[str, Any] = {
    "score": 0.4375,
    "n": 96,
    "name": "नहीं",
    "by": {"deu_Latn": [1, None, True]},
    "tuple": (1, 2),
}
PLAIN = json.loads(json.dumps(CONTENT))


def test_json_comes_back_however_it_is_laid_out() -> None:
    sealed = checksums.sealed(CONTENT)
    for text in (json.dumps(sealed), json.dumps(sealed, indent=3, ensure_ascii=False, sort_keys=True)):
        assert checksums.opened(json.loads(text)) == PLAIN
    assert checksums.opened(PLAIN) == PLAIN, "of before there were checksums"
    with pytest.raises(checksums.ChecksumError, match="kind 2, of a later version"):
        checksums.opened({**PLAIN, "checksum": "2:00"})
    for wrong in (None, 3, "", "1", "1:00", []):
        with pytest.raises(checksums.ChecksumError):
            checksums.opened({**PLAIN, "checksum": wrong})


def test_no_bit_of_json_makes_another_content() -> None:
    whole = json.dumps(checksums.sealed(CONTENT), ensure_ascii=False).encode()
    refused = 0
    for other in every_bit(whole):
        try:
            found = checksums.opened(json.loads(other))
        except ValueError:
            refused += 1
            continue
        found = {key: value for key, value in found.items() if key in PLAIN}  # the name of the checksum may be hit
        assert found == PLAIN
    assert refused > 0.9 * 8 * len(whole)


def test_no_bit_of_a_text_makes_another_content() -> None:
    text = yaml.safe_dump({"model": "tiny", "evaluate": [{"task": "xnli", "limit": 100}], "seed": 0})
    whole = checksums.sealed_text(text)
    assert checksums.opened_text(whole) == checksums.opened_text(whole.replace("\n", "\r\n")) == text
    assert checksums.opened_text(text) == text
    assert yaml.safe_load(whole) == yaml.safe_load(text)
    for other in every_bit(whole.encode()):
        try:
            found = yaml.safe_load(checksums.opened_text(other.decode()))
        except (ValueError, yaml.YAMLError):
            continue
        assert {key: value for key, value in found.items() if key in ("model", "evaluate", "seed")} == yaml.safe_load(
            text
        )


def test_no_bit_of_a_sealed_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before" + checksums.UNSEALED + b"after")
    checksums.seal(path)
    whole = path.read_bytes()
    assert len(whole) == len(b"before" + checksums.UNSEALED + b"after")
    assert checksums.is_sealed(whole)
    assert not checksums.is_sealed(b"before and after")
    place = whole.index(checksums.MARK)
    for number, other in enumerate(every_bit(whole)):
        if place <= number // 8 < place + len(checksums.MARK):
            assert not checksums.is_sealed(other), "who writes such files says that they had one"
            continue
        byte = other[number // 8]
        if (
            number // 8 in range(place + len(checksums.MARK), place + len(checksums.UNSEALED))
            and byte not in b"0123456789abcdef"
        ):
            assert not checksums.is_sealed(other)
            continue
        with pytest.raises(checksums.ChecksumError):
            checksums.is_sealed(other)
