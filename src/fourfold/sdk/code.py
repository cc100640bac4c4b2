"""Which code ran: the git commit, whether the tree was dirty, and a hash of the function's source."""

from __future__ import annotations

import functools
import hashlib
import inspect
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


def code_version(function: Callable[..., Any] | None) -> dict[str, Any]:
    """The version of a function's code, or of the working folder's without a function."""
    version: dict[str, Any] = {}
    try:
        if function is None:
            folder = Path.cwd()
        else:
            if (source := _source(function)) is not None:
                version["source_hash"] = hashlib.blake2b(source, digest_size=8).hexdigest()
            folder = Path(inspect.getfile(function)).resolve().parent
        return {**version, **_git(str(folder))}
    except (OSError, TypeError):  # the folder is gone; typed into an interpreter: there is no file
        return version


def _source(function: Callable[..., Any]) -> bytes | None:
    """A function's source, or its bytecode if the source is missing or unreadable."""
    try:
        return inspect.getsource(function).encode()
    except (OSError, TypeError, SyntaxError, ValueError):
        code = getattr(function, "__code__", None)
        return None if code is None else code.co_code


@functools.lru_cache(maxsize=64)
def _git(folder: str) -> dict[str, Any]:
    """The commit and whether the tree is dirty, read once per process and folder; empty without git."""
    try:
        commit = _run(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_run(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _run(folder: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()
