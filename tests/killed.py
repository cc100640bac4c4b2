"""Processes that are killed at any moment: before any statement, any commit, and any change of a file.

A process that has everything imported forks a child for each of them, so that a kill costs no imports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

KILLS = int(os.environ.get("FOURFOLD_KILLS", "10"))  # of a test; .ci/run asks for more
_CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.link"}
Die = Callable[..., int]


@contextlib.contextmanager
def victims(prepare: Callable[..., Callable[[], object]]) -> Iterator[Die]:
    """What lets a child do what ``prepare`` makes ready, a function of a module, given some texts.

    The child is killed at the moment of this number, the first one is 1. The answer is 0 where it was, and otherwise
    how many moments there are.
    """
    code = "import sys; from tests.killed import fork_when_told; fork_when_told(*sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, prepare.__module__, prepare.__name__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    to, said = process.stdin, process.stdout

    def die(moment: int, *arguments: object) -> int:
        print(json.dumps([moment, *map(str, arguments)]), file=to, flush=True)
        status, moments = json.loads(said.readline())
        assert status in (0, -signal.SIGKILL), f"it ended with {status}"
        return int(moments) if status == 0 else 0

    try:
        yield die
    finally:
        to.close()
        process.wait(60)
        said.close()


def spread(moments: int, kills: int = KILLS) -> list[int]:
    """As many of some moments as a test kills at, from the first to the last one.

    >>> spread(9, 3), spread(2, 3)
    ([1, 5, 9], [1, 2])
    """
    if moments <= kills:
        return [*range(1, moments + 1)]
    return [1 + round(number * (moments - 1) / (kills - 1)) for number in range(kills)]


def fork_when_told(module: str, name: str) -> None:
    """For each line of the input, a child; writes how it ended."""
    prepare = getattr(importlib.import_module(module), name)
    reads, writes = os.pipe()
    for line in sys.stdin:
        moment, *arguments = json.loads(line)
        if not (child := os.fork()):
            try:
                os.write(writes, f"{_moments(prepare(*arguments), moment):>12}".encode())
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, int(os.read(reads, 12)) if status == 0 else 0]), flush=True)


def _moments(work: Callable[[], object], last: int) -> int:
    """Do something, or be killed at one of its moments; returns how many it has."""
    count = 0

    def pass_one(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and isinstance(arguments[1], str) and "r" not in arguments[1]):
            pass_one()

    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, pass_one)
    sys.addaudithook(audited)
    work()
    return count
