"""Incidents, asked for from Python."""

from __future__ import annotations

import time

from fourfold.errors import InputError
from fourfold.model import Incident, IncidentState
from fourfold.query.table import Table
from fourfold.sdk.questions import store_to_ask
from fourfold.sdk.session import session
from fourfold.watch import incidents as asked
from fourfold.watch.check import check as judge
from fourfold.watch.notify import channels
from fourfold.watch.notify.outbox import deliver
from fourfold.watch.settings import watch_settings

_STATES = ("open", "all", *(state.value for state in IncidentState if state is not IncidentState.OPEN))


def incidents(state: str = "open") -> Table[Incident]:
    """The incidents that checks have found, the most urgent first.

    ``ff.incidents().to_pandas()``. It judges nothing: see ``ff.check``.

    Args:
        state: "open" (all that have not ended), "all", or one of the states "pending", "acknowledged", "snoozed",
            "resolved" and "dismissed".

    Raises:
        StoreError: there is no store; a question creates none.
        InputError: no such state.
    """
    if state not in _STATES:
        raise InputError(f"state={state!r}: give one of {', '.join(_STATES)}")
    found = asked.incidents(store_to_ask().reader, active=state not in ("all", "resolved", "dismissed"))
    if state in ("open", "all"):
        return found
    return Table([incident for incident in found if incident.state == state], asked.columns)


def check() -> Table[Incident]:
    """Judge all that is new, tell the channels of ``fourfold.toml``, and return the incidents that have not ended.

    The first check of a store judges its history, each day by what was known before it. ``fourfold check`` does the
    same, and exits with 1 if an incident is open.

    Raises:
        StoreError: there is no store, or it cannot be written.
        ConfigError: the section [watch] of fourfold.toml is wrong.
    """
    store = store_to_ask()
    settings = watch_settings(session().settings.watch)
    made, now = channels(settings.notify), time.time()
    judge(store, settings, now)
    deliver(store.reader.database, store.project, made, now)
    return asked.incidents(store.reader, active=True)
