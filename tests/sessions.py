"""Spark sessions for tests: small ones, on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fourfold.engine.spark import few
from fourfold.model import SPARK

SMALL = {
    "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.memory": "1g",
    "spark.log.level": "ERROR",
    # a question is asked once: to compile it takes longer than to answer it
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    # nothing of these may matter
    "spark.sql.session.timeZone": "America/St_Johns", "spark.sql.files.ignoreMissingFiles": "true",
}  # fmt: skip


def needed() -> None:
    """Skip the test where Spark cannot run; in continuous integration it has to."""
    missing = "Java" if shutil.which("java") is None and "JAVA_HOME" not in os.environ else ""
    try:
        import pyspark  # noqa: F401
    except ImportError:
        missing = "PySpark"
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{missing} is needed for this test")
    if missing:
        pytest.skip(f"{missing} is not installed")


def in_full(request: pytest.FixtureRequest) -> None:
    """Skip the test in a run that is not about Spark."""
    if request.config.getoption("--engine") != SPARK:
        pytest.skip("give --engine spark to run it")


@contextmanager
def local(master: str = "local[2]", **more: str) -> Iterator[Any]:
    """A session, which is stopped at the end."""
    needed()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master).appName("tests")
    for name, value in {**SMALL, **more}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few, "RECORDS", 0)  # few as they are, the cluster counts them
        yield session
    session.stop()
