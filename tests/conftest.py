from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import fourfold as ff
from fourfold.sdk import Session
from fourfold.store import Store

settings.register_profile(
    "fourfold", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("thorough", parent=settings.get_profile("fourfold"), max_examples=400)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fourfold"))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test in a folder of its own, with no settings from outside."""
    for name in [name for name in os.environ if name.startswith("FOURFOLD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store", "test")
    yield opened
    opened.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    started = ff.init(tmp_path / "store", "test")
    yield started
    started.close()
