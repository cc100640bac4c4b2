"""Who writes messages, and what a message is called: its writer, and a number that rises by one."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import time

DURABILITIES = ("process", "disk")  # what a message survives once it is written


def new_writer() -> str:
    """A name for a writer that no other process or fork has, and that sorts by time."""
    return f"{time.time_ns():x}-{os.getpid()}-{secrets.token_hex(4)}"


def message_id(writer: str, sequence: int) -> str:
    """The name of a message, which sorts by writer and then by age."""
    return f"{writer}-{sequence:012d}"


def sent_id(message: str, project: str) -> str:
    """What a message is called that came from elsewhere: its id, for its project alone.

    So none that a sender may choose is that of another project's message, or of one of this store's own.

    >>> sent_id("w-1-000000000007", "flights")
    'w-1_6ab0ec1e21a6456d-000000000007'
    """
    writer, _, sequence = message.rpartition("-")
    return f"{writer}_{_mark(project)}-{sequence}"


@functools.lru_cache(1_000)
def _mark(project: str) -> str:
    return hashlib.blake2b(project.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
