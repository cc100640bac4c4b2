"""Who writes messages, and what a message is called: its writer, and a number that rises by one."""

from __future__ import annotations

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
