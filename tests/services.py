"""Servers that tests use: real ones, started once and stopped at the end of the process; and where a state is kept.

With ``pytest --state postgresql``, a store of a test keeps its state there, in a schema that its folder names.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fourfold.model import Place
from fourfold.state import open_state
from fourfold.state.moving import TABLES
from tests import azure, objects

_PLACES = "/usr/lib/postgresql/*/bin"  # where Debian's package has the server's programs, which are on no PATH
_SETTINGS = (
    "listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=200",
    "autovacuum=off", "log_min_messages=fatal",
)  # fmt: skip


class Postgres:
    """A server in a temporary folder, which is reached by a socket only."""

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fourfold-postgres-", dir="/tmp"))  # a socket's path must be short
        self._programs = programs
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.folder.chmod(0o755)
        self._run(
            "initdb", "-D", str(self.data), "-U", "fourfold", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )
        self.start()
        self._run("createdb", "-h", str(self.folder), "-U", "fourfold", "fourfold")

    @property
    def data(self) -> Path:
        """The folder of the server's files."""
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {setting}" for setting in (*_SETTINGS, f"unix_socket_directories={self.folder}"))
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self, how: str = "fast") -> None:
        """Stop it: "fast" ends all sessions, "immediate" is a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", how, "stop")

    def remove(self) -> None:
        """Stop it for ever."""
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, schema: str = "", user: str = "fourfold") -> str:
        """The address of a state: in a schema of its own, where none is named."""
        return f"postgresql://{user}@/fourfold?host={self.folder}&schema={schema or f's{uuid.uuid4().hex[:12]}'}"

    def _run(self, program: str, *arguments: str) -> None:
        user = "postgres" if os.geteuid() == 0 else None  # for root, the server does not start
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [str(self._programs / program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd=self.folder,
            env=environment, user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip


@functools.cache
def postgres() -> Postgres:
    """The server of this process; without its programs, a test fails in CI and is skipped elsewhere."""
    found = sorted(Path("/").glob(f"{_PLACES[1:]}/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if not found:
        why = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    server = Postgres(found[-1].parent)
    creator = os.getpid()
    atexit.register(lambda: server.remove() if os.getpid() == creator else None)
    return server


class Chosen:
    """What the options of pytest chose."""

    state = "sqlite"
    log = "folder"


def place(folder: Path) -> Place:
    """A store that a folder names: in it or in a bucket, with its state in the chosen system."""
    name = hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()
    store = {
        "folder": str(folder),
        "s3": f"s3://{objects.BUCKET}/{name}",
        "azure": f"abfss://{azure.CONTAINER}/{name}",
    }[Chosen.log]
    if Chosen.state == "sqlite":
        return Place(store, "" if Chosen.log == "folder" else str(folder))
    return Place(store, postgres().address(f"s{name}"))


@contextmanager
def empty(folder: Path) -> Iterator[Place]:
    """A store in a folder, whose state is there already, with nothing in it: cheaper than to make one."""
    folder.mkdir(parents=True, exist_ok=True)
    if Chosen.state == "sqlite":
        yield Place(str(folder))
        return
    address = _emptied(_LEFT.pop()) if _LEFT else postgres().address()
    yield Place(str(folder), address)
    _LEFT.append(address)


_LEFT: list[str] = []  # the addresses of states that no test uses any more


@functools.cache
def empty_file() -> Path:
    """A state in a file, as the migrations make it; to be copied."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_state("", folder).close()
    return folder / "state.db"


def _emptied(address: str) -> str:
    database, _, schema = address.partition("&schema=")
    with psycopg.connect(database) as connection:
        for table in reversed(TABLES):
            connection.execute(f"DELETE FROM {schema}.{table.name}")
    return address
