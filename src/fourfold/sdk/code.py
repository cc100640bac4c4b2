"""Which code ran: the git commit, whether the tree was dirty, a hash of the source, and the versions of packages."""

from __future__ import annotations

import functools
import hashlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from fourfold.errors import let_end

_MOST_PACKAGES, _MOST_GLOBALS = 32, 2_000


def code_version(function: Callable[..., Any] | None) -> dict[str, Any]:
    """The version of a function's code, or of the working folder's without a function."""
    version: dict[str, Any] = {}
    try:
        if function is None:
            folder = Path.cwd()
        else:
            if (source := _source(function)) is not None:
                version["source_hash"] = hashlib.blake2b(source, digest_size=8).hexdigest()
            if packages := _packages(function):
                version["packages"] = packages
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


def _packages(function: Callable[..., Any]) -> dict[str, str]:
    """The versions of the packages that the globals of a function's module come from, but not of Python's own."""
    values = list(getattr(inspect.unwrap(function), "__globals__", {}).values())[:_MOST_GLOBALS]
    own = str(getattr(function, "__module__", "")).partition(".")[0]
    names = {name.partition(".")[0] for value in values if (name := _module_of(value))}
    names -= {*sys.stdlib_module_names, "fourfold", own}
    found = {name: _version(name) for name in sorted(names)[:_MOST_PACKAGES]}
    return {name: version for name, version in found.items() if version}


def _module_of(value: object) -> str:
    """The module that a value is, or that a class or function comes from; a value's own code is not run."""
    kind = type(value)
    if issubclass(kind, ModuleType):
        name = vars(value).get("__name__")
    elif kind in (FunctionType, BuiltinFunctionType) or issubclass(kind, type):
        name = getattr(value, "__module__", None)
    else:
        name = None
    return name if isinstance(name, str) else ""


@functools.lru_cache(maxsize=256)
def _version(package: str) -> str:
    """The version of an imported package; empty if it tells none."""
    try:
        told = vars(sys.modules[package]).get("__version__")
        return str(told) if type(told) is str else metadata.version(package)
    except BaseException as error:  # not installed, or with metadata that cannot be read
        let_end(error)
        return ""


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
