"""The Spark session that counts: the one that there is (a notebook's, a cluster's, Spark Connect's), else one of ours.

Only what both kinds of session have is used: data frames, and no context, RDD or JVM object. None of the session's
settings is changed, and none matters to the counts: its time zone, its ANSI mode, how it tells names apart.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fourfold.engine import stopping
from fourfold.engine.choice import MASTER
from fourfold.engine.spark.files import GATHERED
from fourfold.errors import ConfigError, FourfoldError, StoreError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LAUNCHED = ("PYSPARK_GATEWAY_PORT", "PYSPARK_SUBMIT_ARGS", "SPARK_REMOTE")  # somebody else has said where
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
_OURS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(GATHERED),
}
_LAST = re.compile(r"^\s*(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt|Exit)\b.*)$", re.MULTILINE)
_LENGTH = 300  # characters of a foreign message


def active() -> SparkSession | None:
    """The session of this thread or process; None where there is none."""
    if "pyspark" not in sys.modules:
        return None
    sql = _pyspark()
    found = sql.SparkSession.getActiveSession() or getattr(sql.SparkSession, "_instantiatedSession", None)
    return None if found is None or is_stopped(found) else found


def started() -> SparkSession:
    """The session that there is, or a new one.

    Raises:
        ConfigError: PySpark is not installed, or no session can be started.
    """
    found = active()
    if found is not None:
        return found
    builder = _pyspark().SparkSession.builder.appName("fourfold")
    if MASTER in os.environ or not any(name in os.environ for name in _LAUNCHED):
        master = os.environ.get(MASTER, "local[*]")
        if master.startswith("local"):  # its workers are of this machine, and of this Python
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.master(master)
        for name, value in (_OURS | _LOCAL if master.startswith("local") else _OURS).items():
            builder = builder.config(name, value)
    try:
        session: SparkSession = builder.getOrCreate()
    except Exception as error:
        raise ConfigError(
            f"engine='spark': no Spark session could be started: {_short(error)}; Spark needs Java 17 or newer, "
            "which is found by JAVA_HOME or PATH"
        ) from error
    return session


@contextmanager
def asked(session: SparkSession, what: str) -> Iterator[None]:
    """Around what Spark works out: it is stopped with its thread, and its errors are told as ours.

    Raises:
        StoppedError: the thread was stopped.
        ConfigError: the executors lack a package.
        StoreError: Spark failed.
    """
    with stopping.stoppable(_Jobs(session)):
        try:
            yield
        except FourfoldError:
            raise
        except Exception as error:
            stopping.check()
            text = str(error)
            if missing := re.search(r"No module named '([\w.]+)'", text):
                package = missing[1].partition(".")[0]
                raise ConfigError(
                    f"engine='spark': the executors cannot import {package}: install it in their Python environment, "
                    "or send it with spark.submit.pyFiles or spark.archives (see docs/spark.md)"
                ) from error
            raise StoreError(f"{what}: Spark failed: {_short(error)}") from error


class _Jobs:
    """What a thread asks of a session, which can be interrupted."""

    def __init__(self, session: SparkSession) -> None:
        self._session, self._tag = session, f"fourfold-{uuid.uuid4().hex}"
        session.addTag(self._tag)

    def interrupt(self) -> None:
        """Cancel its jobs."""
        self._session.interruptTag(self._tag)

    def close(self) -> None:
        """Begin and end nothing further."""
        self._session.removeTag(self._tag)


def _short(error: Exception) -> str:
    """What a failed job comes down to: the last error that it names, in one line."""
    found = _LAST.findall(str(error))
    text = found[-1] if found else next(iter(str(error).splitlines()), type(error).__name__)
    return text.strip()[:_LENGTH]


def is_stopped(session: Any) -> bool:
    """Whether a session has ended; one of Spark Connect says so itself, another by its context."""
    if hasattr(session, "is_stopped"):
        return bool(session.is_stopped)
    return getattr(getattr(session, "_sc", None), "_jsc", True) is None


def _pyspark() -> Any:
    try:
        import pyspark.sql
    except ImportError as error:
        raise ConfigError("engine='spark' needs PySpark 4 or newer: pip install 'fourfold[spark]'") from error
    return pyspark.sql
