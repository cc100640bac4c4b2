"""``fourfold tokens``: who may use a server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from fourfold.cli.grid import Grid, spare, wide
from fourfold.cli.options import JsonOption, StoreOption, print_json, settings_of
from fourfold.cli.screen import Words, console
from fourfold.errors import InputError, suggest
from fourfold.log import state_at
from fourfold.model.access import Role, Token
from fourfold.state import Database, open_state, tokens


def command(
    add: Annotated[str | None, typer.Option("--add", help="Make a token for this person or service.")] = None,
    role: Annotated[Role, typer.Option(help="What the new token allows.")] = Role.INGEST,
    only: Annotated[list[str] | None, typer.Option(help="A project that it is good for; else all.")] = None,
    revoke: Annotated[str | None, typer.Option("--revoke", help="Revoke the token with this id.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the tokens of a store's server, make one, or revoke one. A token is shown once, when it is made."""
    if add is not None and revoke is not None:
        raise InputError("--add and --revoke are different commands; give one of them")
    database = open_state(*state_at(settings_of(store, None).place))
    try:
        if add is not None:
            _add(database, add, role, only or (), json)
        elif revoke is not None:
            _revoke(database, revoke)
        else:
            _list(database, json)
    finally:
        database.close()


def _add(database: Database, name: str, role: Role, projects: Sequence[str], json: bool) -> None:
    if not name.strip():
        raise InputError("--add '': name the person or the service that it is for")
    with database.write() as connection:
        made, secret = tokens.create(connection, name, role, projects, time.time())
    if json:
        print_json([{**_row(made), "token": secret}])
    else:
        console().print(Words(f"{made.role} token {made.id} for {name}; it is not shown again:"))
        print(secret)


def _revoke(database: Database, id_: str) -> None:
    with database.write() as connection:
        if not tokens.revoke(connection, id_, time.time()):
            raise suggest("token", id_, [token.id for token in tokens.listed(connection) if token.revoked is None])
    console().print(Words(f"{id_} is revoked."))


def _list(database: Database, json: bool) -> None:
    with database.read() as connection:
        found = tokens.listed(connection)
    if json:
        print_json([_row(token) for token in found])
        return
    grid = Grid("id", wide("name"), "role", wide("projects"), "made", spare("revoked"))
    for token in found:
        projects = ", ".join(token.projects) or "all"
        grid.add_row(token.id, token.name, token.role, projects, _day(token.created), _day(token.revoked))
    console().print(grid if found else Words("no tokens: on this machine, everyone may look and send"))


def _row(token: Token) -> dict[str, object]:
    return {
        "id": token.id, "name": token.name, "role": token.role.value, "projects": list(token.projects),
        "created": _iso(token.created), "revoked": _iso(token.revoked),
    }  # fmt: skip


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _day(at: float | None) -> str:
    return (_iso(at) or "")[:10]
