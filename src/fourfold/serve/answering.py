"""Works out what pages show, in processes of their own: no record that comes in waits for a page, nor the other way.

Such a process is started when somebody looks, and again when it has died or takes too long; it ends with the server,
however that ends, since it waits for the end of a pipe whose other end only the server has.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
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
_WITHIN = 120.0  # seconds for a page
_readers: dict[str, Reader] = {}  # of such a process, by project


class Question(NamedTuple):
    """What is asked: a page at a moment, and ``form``: "" for all of it, or its main table as json, csv or parquet."""

    view: View
    asked: Sequence[tuple[str, str]]
    form: str
    now: float


class Answering:
    """Processes that answer for a store: each is asked by one thread at a time, which waits for the answer itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._closed = False
        self._all: set[_Worker] = set()
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()  # the last to answer first; None: one to come
        for _ in range(_PROCESSES):
            self._free.put(None)

    def answer(self, project: str, question: Question) -> bytes:
        """The answer to a question about a project.

        Raises:
            FourfoldError: what the page raises; or it took too long, or the process that worked on it has died twice.
        """
        until = time.monotonic() + _WITHIN
        try:
            worker = self._free.get(timeout=_WITHIN)
        except queue.Empty:
            raise _late() from None
        try:
            for _ in range(2):
                worker = worker or self._new()
                try:
                    found = worker.ask(project, question, max(until - time.monotonic(), 0.0))
                except TimeoutError:
                    self._end(worker)
                    worker = None
                    raise _late() from None
                except (EOFError, OSError):  # it is gone
                    self._end(worker)
                    worker = None
                except BaseException:  # what it was to answer may still come
                    self._end(worker)
                    worker = None
                    raise
                else:
                    if isinstance(found, Exception):
                        raise found
                    return found
        finally:
            self._free.put(worker)
        raise StoreError("the process that works this page out has died twice; the server's log may say why")

    def begin(self) -> None:
        """Start a process, so that the first question finds it there."""
        with contextlib.suppress(queue.Empty, StoreError):  # the first question tells what is wrong
            worker = self._free.get_nowait()
            try:
                worker = worker or self._new()
            finally:
                self._free.put(worker)

    def close(self) -> None:
        """End the processes, whatever they are at."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
        for worker in workers:
            self._end(worker)

    def _new(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise StoreError("the server ends; ask again when it is there")
            try:
                worker = _Worker(self._settings)
            except OSError as error:
                raise StoreError(f"no process can be started that works pages out: {error}") from error
            self._all.add(worker)
            return worker

    def _end(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.end()


class _Worker:
    """A process that answers one question after the other."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        listening, self._held = context.Pipe(duplex=False)  # it ends when this is closed
        self._process = context.Process(target=_serve, args=(settings, theirs, listening), daemon=True)
        self._process.start()
        theirs.close()
        listening.close()

    def ask(self, project: str, question: Question, within: float) -> bytes | Exception:
        """Its answer, or the error that the page raises.

        Raises:
            TimeoutError: there is none within so many seconds.
            EOFError, OSError: it has died.
        """
        self._pipe.send((project, question))
        if not self._pipe.poll(within):
            raise TimeoutError
        found: bytes | Exception = self._pipe.recv()
        return found

    def end(self) -> None:
        """End it, whatever it is at: one that stands still does not see that its pipes are closed."""
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._held.close()


def _late() -> StoreError:
    return StoreError(f"the page was not worked out within {_WITHIN:g} seconds: ask for a shorter time, or try again")


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


def _serve(settings: Settings, pipe: Connection, held: Connection) -> None:
    """What such a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the server decides
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    threading.Thread(target=_end_with, args=(held,), name="fourfold-server", daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the server is gone
        while True:
            pipe.send(_work(settings, *pipe.recv()))


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
