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
    """What is known of the code of a function, or of the working folder where there is none."""
    folder = Path.cwd()
    version: dict[str, Any] = {}
    if function is not None:
        try:
            version["source_hash"] = hashlib.blake2b(inspect.getsource(function).encode(), digest_size=8).hexdigest()
            folder = Path(inspect.getfile(function)).resolve().parent
        except (OSError, TypeError):  # typed into an interpreter: there is no source
            code = getattr(function, "__code__", None)
            if code is not None:
                version["source_hash"] = hashlib.blake2b(code.co_code, digest_size=8).hexdigest()
    return {**version, **_git(str(folder))}


@functools.lru_cache(maxsize=64)
def _git(folder: str) -> dict[str, Any]:
    """The commit and whether anything is changed; asked once a process and folder, nothing where there is no git."""
    try:
        commit = _run(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_run(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _run(folder: str, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=5, check=True
    )  # fmt: skip
    return done.stdout.strip()
