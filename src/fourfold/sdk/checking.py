"""What a component's outputs are checked for before they are handed on (``@ff.component(check=...)``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourfold.errors import CheckError
from fourfold.log import store_folder
from fourfold.sdk.history import history
from fourfold.sdk.session import session
from fourfold.sdk.tracking import Tracked
from fourfold.store import is_store
from fourfold.watch.frames import judge_frame
from fourfold.watch.settings import watch_settings

_PATIENCE = 10.0  # seconds that a run waits for the counts of earlier runs


def check_output(component: str, check: str | Callable[..., Any], result: Any, tracked: Tracked) -> None:
    """Check what a run is about to hand on.

    Raises:
        CheckError: something is wrong with it, and the check is not "warn". A check that cannot be made (the store is
            away) lets all pass, with a warning.
    """
    if callable(check):
        found = _texts(check(result, history(component)))
    else:
        found = []
        session().never_raise(
            f"checking the output of {component!r}", lambda: found.extend(_judged(component, tracked))
        )
    if not found:
        return
    text = f"the output of {component!r} is not as it should be: {'; '.join(found)}"
    if check == "warn":
        session().warn(text)
    else:
        raise CheckError(text, tuple(found))


def _judged(component: str, tracked: Tracked) -> list[str]:
    now = session()
    now.flush()
    if not is_store(store_folder(now.settings.store)):
        return []
    reader, settings = now.store.caught_up(_PATIENCE), watch_settings(now.settings.watch)
    return [
        f"{finding.where}: {finding.what}"
        for name, profile in tracked.profiles.items()
        for finding in judge_frame(
            reader, settings, component, name, profile.counts, profile.plan, tracked.started, tracked.at
        )
    ]


def _texts(said: Any) -> list[str]:
    """What a user's own check has returned, as texts; one that says no more than that all is well, or not, as NumPy's
    booleans do, is understood too.
    """
    if said is None or isinstance(said, str):
        return [said] if said else []
    if isinstance(said, (list, tuple, set)):
        return [str(text) for text in said if text]
    try:
        return [] if bool(said) else ["its check says no"]
    except (TypeError, ValueError):
        return [f"its check returned a {type(said).__name__}; let it return None, True or False, a text, or several"]
