"""The text of a data file: unpacked, decoded, and refused where it is no data at all (no torch)."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from trainables.errors import UserError

HEAD_BYTES = 512


def _unzstd(content: bytes) -> bytes:
    import pyarrow  # which reads parquet anyhow, and takes part of a second to import

    return bytes(pyarrow.input_stream(pyarrow.py_buffer(content), compression="zstd").read())


# Name's ending -> first bytes, and what unpacks the content.
COMPRESSIONS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    ".gz": (b"\x1f\x8b", gzip.decompress),
    ".zst": (b"\x28\xb5\x2f\xfd", _unzstd),
    ".bz2": (b"BZh", bz2.decompress),
    ".xz": (b"\xfd7zXZ", lzma.decompress),
}


def without_compression(name: str) -> str:
    """Return a file's name without the ending of its compression, in lower case."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in COMPRESSIONS if name.endswith(ending)), name)


def extension(path: Path) -> str:
    """Return the extension that decides the format: that before .gz, .zst, .bz2 or .xz."""
    return Path(without_compression(path.name)).suffix


def content_of(path: Path) -> bytes:
    """Return the bytes of a file, unpacked; raises UserError where it cannot be read or is no data."""
    try:
        content = path.read_bytes()
        for ending, (mark, unpack) in COMPRESSIONS.items():
            if content.startswith(mark) or path.name.lower().endswith(ending):
                content = unpack(content)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    check_is_data(path, content[:HEAD_BYTES])
    return content


def text_of(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 by its first bytes; without a byte order mark."""
    content = content_of(path)
    encoding = json.detect_encoding(content)
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    try:
        # surrogatepass is what detect_encoding is made for; UTF-8 stays strict.
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: the text must be UTF-8 ({error.reason})") from None


def check_is_data(path: Path, head: bytes) -> None:
    """Raise UserError where the first bytes of a file are those of what often lies in the place of data."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"size (\d+)", head)
        held = f" of {int(size[1]):,} bytes" if size else ""
        raise UserError(
            f"{path} is a pointer to large-file storage, not the data{held}: run `git lfs pull` in its repository, or "
            "download the file itself"
        )
    if start.startswith((b"<!doctype html", b"<html")):
        raise UserError(f"{path} is a web page, not data (of a login or an error?): download the file itself")
    if start.startswith(b"<?xml"):
        raise UserError(f"{path} is XML, not data (the answer of a server?): download the file itself")
    if head.startswith(b"PK\x03\x04"):
        raise UserError(f"{path} is a zip archive or a spreadsheet: unpack it, or save it as CSV")
