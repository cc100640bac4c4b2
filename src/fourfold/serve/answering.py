"""Works out what pages show, in processes of their own: no record that comes in waits for a page, nor the other way.

Such a process is started when somebody looks, and again when it has died or stands still; it ends with the server,
however that ends, since it waits for the end of a pipe whose other end only the server has.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from fourfold.config import Settings
from fourfold.errors import StoreError
from fourfold.query.reader import Reader
from fourfold.serve.jsons import json_bytes
from fourfold.views.asking import Asked
from fourfold.views.page import Page

View = Callable[[Reader, Asked, float], Page]
_FORMULA = r"^[=+@\t\r\n＝＋＠－-]"  # spreadsheets take the full-width signs for the others
_NUMBER = r"^[+-]?[0-9.]+(e[+-]?[0-9]+)?$"
_PROCESSES = 2  # so that a page that takes long does not keep all others waiting
_WITHIN = 120.0  # seconds for a page; where there was no answer at all for so long, the processes stand still
_readers: dict[str, Reader] = {}  # of such a process, by project


class Question(NamedTuple):
    """What is asked: a page at a moment, and ``form``: "" for all of it, or its main table as json, csv or parquet."""

    view: View
    asked: Sequence[tuple[str, str]]
    form: str
    now: float


class Answering:
    """Processes that answer for a store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._listening: Connection | None = None
        self._held: Connection | None = None  # they end when it is closed
        self._answered = 0.0  # when there was an answer last, or they were started

    def answer(self, project: str, question: Question) -> bytes:
        """The answer to a question about a project.

        Raises:
            FourfoldError: what the page raises; or it took too long, or the process that worked on it has died twice.
        """
        for _ in range(2):
            pool = self._open()
            try:
                found = pool.submit(_work, self._settings, project, question).result(_WITHIN)
            except BrokenProcessPool:
                self._drop(pool)
            except TimeoutError:
                if time.monotonic() - self._answered > _WITHIN:
                    self._drop(pool)
                raise StoreError(
                    f"the page was not worked out within {_WITHIN:g} seconds: ask for a shorter time, or try again"
                ) from None
            else:
                self._answered = time.monotonic()
                if isinstance(found, Exception):
                    raise found
                return found
        raise StoreError("the process that works this page out has died twice; the server's log may say why")

    def begin(self) -> None:
        """Start a process, so that the first question finds it there."""
        with contextlib.suppress(RuntimeError):  # the pool is broken or at its end: the next question makes another
            self._open().submit(_begun)

    def close(self) -> None:
        """End the processes, whatever they are at."""
        if self._pool is not None:
            self._drop(self._pool)

    def _open(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._listening, self._held = context.Pipe(duplex=False)
                self._pool = ProcessPoolExecutor(_PROCESSES, context, _begin, (self._listening,))
                self._answered = time.monotonic()
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is not pool:
                return
            assert self._listening is not None and self._held is not None
            self._held.close()
            self._listening.close()
            self._pool = None
            for process in multiprocessing.active_children():  # the server has no others
                process.kill()  # one that stands still does not see that the pipe is closed
        pool.shutdown(cancel_futures=True)


def answer(reader: Reader, question: Question) -> bytes:
    """A page as JSON, or its main table as a file."""
    with reader.database.question():
        page = question.view(reader, Asked.of(question.asked), question.now)
    if not question.form:
        return json_bytes(page.to_json())
    if question.form == "json":
        return json_bytes({"rows": list(page.listed())})
    out = io.BytesIO()
    if question.form == "csv":
        pyarrow.csv.write_csv(_inert(page.table()), out)
    else:
        pyarrow.parquet.write_table(page.table(), out)
    return out.getvalue()


def _inert(table: pa.Table) -> pa.Table:
    """The same table, in which no text is a formula to a spreadsheet: such a one gets an apostrophe in front."""
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = table.column(number)
            number_like = pc.match_substring_regex(texts, _NUMBER)
            formula = pc.and_not(pc.match_substring_regex(texts, _FORMULA), number_like)
            inert = pc.if_else(formula, pc.binary_join_element_wise("'", texts, ""), texts)
            table = table.set_column(number, field, inert)
    return table


def _begin(held: Connection) -> None:
    """What such a process does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the server decides
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    threading.Thread(target=_end_with, args=(held,), name="fourfold-server", daemon=True).start()


def _begun() -> None:
    """Nothing: the process is there."""


def _end_with(held: Connection) -> None:
    held.poll(None)
    os._exit(0)


def _work(settings: Settings, project: str, question: Question) -> bytes | Exception:
    try:
        if project not in _readers:
            _readers[project] = Reader.open(settings.place, project, retention=settings.retention)
        return answer(_readers[project], question)
    except Exception as error:
        return _sendable(error)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # what an error of others may raise is not known
        return StoreError(f"{type(error).__name__}: {error}")
    return error
