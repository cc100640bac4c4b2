"""The section ``[watch]`` of ``fourfold.toml``."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from typing import Any

from fourfold.config import is_finite, seconds_of
from fourfold.errors import ConfigError
from fourfold.expectations import expectations
from fourfold.model import DAY


@dataclasses.dataclass(frozen=True)
class WatchSettings:
    """How a store is watched.

    ``days`` is the promise: at most one false incident in so many days, however many series there are. A change that
    lasts ``settle`` days is the new normal. ``tolerance`` says by kind of finding how many times the least change that
    matters a change must be. Findings whose place or kind matches a pattern in ``mute`` are left out.
    ``notify`` are the channels, ``expects`` the pinned constraints, both as declared.
    """

    days: float = 30.0
    settle: int = 28
    mute: tuple[str, ...] = ()
    tolerance: Mapping[str, float] = dataclasses.field(default_factory=dict)
    notify: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    expects: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def mutes(self, *names: str) -> bool:
        """Whether one of some names, such as "predict.score" or "predict.score missing_rate", is muted."""
        return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self.mute)


def watch_settings(declared: Mapping[str, Any]) -> WatchSettings:
    """The settings of a section ``[watch]``.

    Raises:
        ConfigError: an unknown setting, or a value that does not fit; the message names both.
    """
    known = {field.name for field in dataclasses.fields(WatchSettings)}
    if unknown := sorted(declared.keys() - known):
        raise ConfigError(
            f"fourfold.toml, [watch]: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )
    given = dict(declared)
    days = given.get("days", WatchSettings.days)
    if not is_finite(days) or days <= 0:
        raise ConfigError(f"fourfold.toml, [watch]: days={days!r} is not a number above 0")
    if "settle" in given:
        given["settle"] = max(seconds_of(given["settle"], "fourfold.toml, [watch]: settle") // DAY, 1)
    mute = given.get("mute", ())
    if not isinstance(mute, (list, tuple)) or not all(isinstance(pattern, str) for pattern in mute):
        raise ConfigError(f'fourfold.toml, [watch]: mute={mute!r} is not a list of patterns, such as ["predict.*"]')
    tolerance = given.get("tolerance", {})
    for kind, factor in tolerance.items() if isinstance(tolerance, dict) else [("tolerance", tolerance)]:
        if not is_finite(factor) or factor <= 0 or not isinstance(tolerance, dict):
            raise ConfigError(
                f"fourfold.toml, [watch.tolerance]: {kind} = {factor!r}; give a number above 0 for a kind of finding, "
                "such as drift = 2"
            )
    for section in ("notify", "expects"):
        if not isinstance(given.get(section, {}), dict):
            raise ConfigError(f"fourfold.toml, [watch.{section}]: {given[section]!r} is not a section")
    for name, fields in given.get("expects", {}).items():
        what = f'fourfold.toml, [watch.expects."{name}"]'
        limits = expectations(
            {k: v for k, v in fields.items() if k != "version"} if isinstance(fields, dict) else fields, what
        )
        if "min" in limits and "max" in limits and limits["min"] > limits["max"]:
            raise ConfigError(f"{what}: min={limits['min']!r} is above max={limits['max']!r}")
    return WatchSettings(**{**given, "days": float(days), "mute": tuple(mute)})
