"""Several messages in one file: what came to a server at about the same time is made durable together.

A file begins with a line that says what it is. Of each message it holds the lengths of the id and of the content, then
both; at its end is a checksum of all before.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

_FIRST = b"fourfold pack 1\n"
_LENGTHS = struct.Struct("<HI")
_CHECKSUM = struct.Struct("<I")


def packed(messages: Iterable[tuple[str, bytes]]) -> bytes:
    """Messages, each its id and its content, as a file.

    >>> [(id_, bytes(content)) for id_, content in unpacked(packed([("a-1", b"x"), ("a-2", b"")]))]
    [('a-1', b'x'), ('a-2', b'')]
    """
    parts = [_FIRST]
    for id_, content in messages:
        name = id_.encode()
        parts += [_LENGTHS.pack(len(name), len(content)), name, content]
    whole = b"".join(parts)
    return whole + _CHECKSUM.pack(zlib.crc32(whole))


def unpacked(content: bytes) -> Sequence[tuple[str, memoryview]]:
    """The messages in a file.

    Raises:
        ValueError: it is none, or its bytes have changed.
    """
    whole, seal = memoryview(content)[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    if whole[: len(_FIRST)] != _FIRST or seal != _CHECKSUM.pack(zlib.crc32(whole)):
        raise ValueError("it is no pack of messages, or its bytes have changed (checksum)")
    at, found = len(_FIRST), []
    while at < len(whole):
        name, length = _LENGTHS.unpack_from(whole, at)
        at += _LENGTHS.size
        found.append((bytes(whole[at : at + name]).decode(), whole[at + name : at + name + length]))
        at += name + length
    return found
