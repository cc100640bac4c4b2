"""Object storage for tests: an S3 server behind a proxy that counts requests and does damage (see ``faultproxy``)."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pickle
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faultproxy import BUCKET, KINDS, NOTHING, Plan, Traffic

__all__ = ["BUCKET", "KINDS", "NOTHING", "Plan", "Proxy", "Traffic", "environment", "fresh", "server"]


class Proxy:
    """An S3 server and the proxy before it, in a process of their own, which ends with this one."""

    def __init__(self) -> None:
        root = str(Path(__file__).parent.parent)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.faultproxy import main; main()"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        self.address: str = self._said()

    @contextlib.contextmanager
    def faults(self, *plans: Plan) -> Iterator[None]:
        """Do damage by plans, each request by the first that is about such. At the end, what was to arrive a second
        time has arrived.
        """
        self._ask("begin", *plans)
        try:
            yield
        finally:
            self._ask("begin")

    def traffic(self) -> Traffic:
        """What has passed since the start; subtract what had at an earlier moment."""
        found: Traffic = self._ask("traffic")
        return found

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[], Traffic]]:
        """Count: the function that it gives says what has passed since."""
        before = self.traffic()
        yield lambda: self.traffic() - before

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, name: str, *arguments: object) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            pickle.dump((name, arguments), self._process.stdin)
            self._process.stdin.flush()
            return self._said()

    def _said(self) -> Any:
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)


@functools.cache
def server() -> Proxy:
    """That of this process; without moto, a test fails in CI and is skipped elsewhere."""
    if importlib.util.find_spec("moto") is None:
        why = "the S3 server of the tests is not installed: pip install 'moto[server]'"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    started, creator = Proxy(), os.getpid()
    atexit.register(lambda: started.stop() if os.getpid() == creator else None)
    return started


def environment(proxy: Proxy) -> dict[str, str]:
    """What a client needs to find it."""
    return {
        "AWS_ENDPOINT_URL": proxy.address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip


def fresh() -> str:
    """The address of a place in the bucket that nothing else uses."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"
