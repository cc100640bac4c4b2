from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import fourfold as ff
from fourfold.model import DUCKDB, ENGINES, Address, Place
from fourfold.sdk import Session
from fourfold.state.sqlite import SQLite
from fourfold.store import Store
from tests import azure, objects, sessions
from tests.services import Chosen, empty_file, place

settings.register_profile(
    "fourfold", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("thorough", parent=settings.get_profile("fourfold"), max_examples=400)
settings.register_profile("few", parent=settings.get_profile("fourfold"), max_examples=4, stateful_step_count=12)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fourfold"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--state", choices=("sqlite", "postgresql"), default="sqlite", help="where stores keep their state"
    )
    parser.addoption("--log", choices=("folder", "s3", "azure"), default="folder", help="where stores keep their log")
    parser.addoption("--engine", choices=ENGINES, default=DUCKDB, help="what folds in all stores of the tests")
    parser.addoption("--services", action="store_true", help="run what takes long, too, as Spark and the demo")


def pytest_configure(config: pytest.Config) -> None:
    Chosen.state, Chosen.log = config.getoption("--state"), config.getoption("--log")
    config.addinivalue_line("markers", "sqlite: what a state in a file does; not run with another --state")
    config.addinivalue_line("markers", "services: what takes long, as Spark and the demo; run with --services")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--services"):
        for item in items:
            if item.get_closest_marker("services"):
                item.add_marker(pytest.mark.skip(reason="takes long; --services runs it, as .ci/run does"))
    if Chosen.state != "sqlite":
        for item in items:
            if item.get_closest_marker("sqlite"):
                item.add_marker(pytest.mark.skip(reason="about a state in a file"))


@pytest.fixture(autouse=True)
def _engine(_alone: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine of all stores, where another than the embedded one is asked for."""
    engine = request.config.getoption("--engine")
    if engine == DUCKDB:
        return
    request.getfixturevalue("spark")

    def placed(address: Address) -> Place:
        chosen = address if isinstance(address, Place) else Place(str(address))
        return dataclasses.replace(chosen, engine=engine)

    monkeypatch.setattr(Place, "of", staticmethod(placed))
    monkeypatch.setenv("FOURFOLD_ENGINE", engine)


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A small session for a whole run of tests."""
    with sessions.local() as session:
        yield session


@pytest.fixture(scope="session", autouse=True)
def _made_before() -> Iterator[None]:
    """A new state in a file is a copy of one that the migrations made: most tests need one, and none another."""
    made, prepare = empty_file(), SQLite.prepare

    def prepared(system: SQLite) -> None:
        prepare(system)
        if system.writable and not system.path.exists():
            copy = Path(shutil.copyfile(made, system.path.with_name(f".{secrets.token_hex(4)}")))
            with contextlib.suppress(FileExistsError):  # another thread's
                os.link(copy, system.path)
            copy.unlink()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLite, "prepare", prepared)
        yield


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test in a folder of its own, with no settings from outside."""
    for name in [name for name in os.environ if name.startswith("FOURFOLD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    if Chosen.log == "s3":
        for name, value in objects.environment(objects.server()).items():
            monkeypatch.setenv(name, value)
    if Chosen.log == "azure":
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
    if state := place(tmp_path / "store").state:
        monkeypatch.setenv("FOURFOLD_STATE", state)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(place(tmp_path / "store"), "test")
    yield opened
    opened.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    started = ff.init(place(tmp_path / "store").store, "test")
    yield started
    started.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> objects.Proxy:
    """Object storage, with nothing wrong until a test says so; the environment leads to it."""
    found = objects.server()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in objects.environment(found).items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def bucket(proxy: objects.Proxy) -> str:
    """The address of an empty place in it."""
    return objects.fresh()
