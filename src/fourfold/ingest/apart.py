"""The runs of a message taken one by one, so that one that cannot be taken costs no other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fourfold.log import Message, messages
from fourfold.log.wire import written
from fourfold.log.writers import message_id
from fourfold.state import Database, StateError, runs

_TOLD = 5  # refused runs that are told of
_LONGEST_NAME, _LONGEST_REASON = 100, 500  # characters


@dataclasses.dataclass(frozen=True)
class Refused:
    """A run that cannot be taken, as a message of its own, and why."""

    header: Mapping[str, Any]
    reason: str


def save(connection: sa.Connection, content: messages.Runs | messages.Reported, came: float) -> None:
    """Write down the runs of a message, which came at a moment in seconds since 1970 (see ``Run.as_of``)."""
    write = runs.save if isinstance(content, messages.Runs) else runs.report
    for run in content.runs:
        write(connection, content.project, run.as_of(came))


def save_each(
    database: Database, connection: sa.Connection, parts: Sequence[Mapping[str, Any]], came: float
) -> list[Refused]:
    """Write down what can be of messages of one run each (see ``messages.apart``); returns the others.

    Raises:
        StateError: the state cannot be used, which no run is to blame for.
    """
    refused = []
    for part in parts:
        try:
            content = messages.decode(part)
            assert isinstance(content, messages.Runs | messages.Reported)
            with database.attempt(connection):
                save(connection, content, came)
        except StateError:
            raise
        except Exception as error:
            refused.append(Refused(part, messages.encodable(f"{_name(part)}: {_first_line(error)}")))
    return refused


def told(refused: Sequence[Refused]) -> str:
    """Which runs cannot be taken, and why; of many, some."""
    more = f"; and {len(refused) - _TOLD} more" if len(refused) > _TOLD else ""
    return f"runs cannot be taken: {'; '.join(each.reason for each in refused[:_TOLD])}{more}"


def together(message: Message, refused: Sequence[Refused]) -> tuple[str, bytes]:
    """The refused runs of a message as one of their own, with a name that no other has; the others are taken."""
    header = {**message.header, "runs": [run for each in refused for run in each.header["runs"]]}
    return message_id(f"{message.writer}_{message.sequence}", 1), written(header)


def _name(part: Mapping[str, Any]) -> str:
    """What a run is called by whoever has sent it."""
    try:
        return f"run {json.loads(part['runs'][0])['id']!r:.{_LONGEST_NAME}}"
    except (KeyError, TypeError, ValueError, IndexError, RecursionError):
        return "a run without an id"


def _first_line(error: Exception) -> str:
    """An error in short: those of a database go on with the statement and all its values."""
    text = f"{type(error).__name__}: {error}" if not isinstance(error, messages.UnreadableMessageError) else f"{error}"
    return text.splitlines()[0][:_LONGEST_REASON]
