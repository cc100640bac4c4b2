"""Several messages in one file: what came to a server at about the same time is made durable together.

A file begins with a line that says what it is. Of each message it holds the lengths of the id and of the content, then
both; at its end is a checksum of all but the contents, which have checksums of their own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

_FIRST = b"fourfold pack 2\n"
_LENGTHS = struct.Struct("<HI")
_CHECKSUM = struct.Struct("<I")


def packed(messages: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """Messages, each its id and its content, as the parts of a file.

    >>> [(id_, bytes(content)) for id_, content in unpacked(b"".join(packed([("a-1", b"x"), ("a-2", b"")])))]
    [('a-1', b'x'), ('a-2', b'')]
    """
    parts, checksum = [_FIRST], 0
    for id_, content in messages:
        name = id_.encode()
        head = _LENGTHS.pack(len(name), len(content)) + name
        checksum = zlib.crc32(head, checksum)
        parts += (head, content)
    return [*parts, _CHECKSUM.pack(checksum)]


def unpacked(content: bytes) -> Sequence[tuple[str, memoryview]]:
    """The messages in a file.

    Raises:
        ValueError: it is none, or its bytes have changed; those of the messages' contents are not looked at.
    """
    whole, seal = memoryview(content)[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    at, checksum, found = len(_FIRST), 0, list[tuple[str, memoryview]]()
    try:
        while at < len(whole):
            name, length = _LENGTHS.unpack_from(whole, at)
            start = at + _LENGTHS.size + name
            head, at = whole[at:start], start + length
            checksum = zlib.crc32(head, checksum)
            found.append((bytes(head[_LENGTHS.size :]).decode(), whole[start:at]))
    except (struct.error, UnicodeDecodeError):
        at = -1
    if whole[: len(_FIRST)] != _FIRST or at != len(whole) or seal != _CHECKSUM.pack(checksum):
        raise ValueError("it is no pack of messages, or its bytes have changed (checksum)")
    return found
