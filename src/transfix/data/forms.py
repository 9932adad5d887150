"""Forms of files that are not read here, each with what to do about it."""

from __future__ import annotations

_COMPRESSED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}
_WIDE = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
LEGACY = "save the file as UTF-8; if it is in an older encoding: `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`"
"""What to do about a line that is not UTF-8."""


def foreign(start: bytes) -> str | None:
    """What a file is that begins so, and what to do; None if it may be text, parquet or Arrow."""
    for mark, name in _COMPRESSED.items():
        if start.startswith(mark):
            return f"is compressed with {name}; unpack it, or compress it with gzip"
    if start.startswith(b"PK\x03\x04"):
        return (
            "is a zip archive, as Excel's and LibreOffice's workbooks are; unpack it, or save the sheet as csv (UTF-8)"
        )
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        return "is an old Excel workbook; save the sheet as csv (UTF-8)"
    for mark, name in _WIDE.items():
        if start.startswith(mark):
            return f"is {name} text; save it as UTF-8 (`iconv -f {name} -t UTF-8 OLD > NEW`)"
    for order, at in (("LE", 1), ("BE", 0)):  # every second byte of plain letters
        if len(start) >= 4 and not any(start[at:4:2]) and all(start[1 - at : 4 : 2]):
            return f"is UTF-16 text; save it as UTF-8 (`iconv -f UTF-16{order} -t UTF-8 OLD > NEW`)"
    return None
