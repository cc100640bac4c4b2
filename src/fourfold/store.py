"""A store, opened for one project: its writer, its reader, and the metrics that need both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from fourfold.config import Settings
from fourfold.engine import check_expression
from fourfold.errors import InputError, StoreError, UnknownNameError, suggest
from fourfold.ingest import from_file
from fourfold.ingest.writer import Writer
from fourfold.log import StorePath, store_folder
from fourfold.model import Address, Place
from fourfold.query.metric import metric, undeclared_sums
from fourfold.query.reader import Reader
from fourfold.query.result import Result
from fourfold.state import catalogue


class Store:
    """One project of a store: a writer, and a reader of what it has counted.

    Raises:
        ConfigError: this version cannot use the address.
        StoreError: the folder cannot be created, or holds something else.
    """

    def __init__(
        self,
        place: Address,
        project: str,
        retention: Mapping[str, int] | None = None,
    ) -> None:
        self.writer = writer = Writer(place, project, retention)
        self.place, self.folder, self.project = writer.place, writer.folder, project
        self.reader = Reader(
            writer.folder,
            project,
            writer.database,
            writer.logs,
            writer.engine,
            writer.retention,
            lambda: writer.standing,
        )

    def caught_up(self, patience: float = math.inf) -> Reader:
        """The reader, once all sent records are counted, or after ``patience`` seconds."""
        self.writer.catch_up(patience)
        return self.reader

    def metric(self, target: str, name: str | Sequence[str], *, patience: float | None = None, **asked: Any) -> Result:
        """A metric, or several, of all records logged so far; see ``ff.metric``.

        Raises:
            UnknownNameError: no such target, metric or slice; the message lists the known ones.
            InputError: an argument is invalid or does not apply.
            ConfigError: the task cannot be counted, because its declaration is wrong.
        """
        wait = _seconds_of(patience)
        reader = self.caught_up(wait)
        names: list[str] = [name] if isinstance(name, str) else [*name] if isinstance(name, Sequence) else []
        if not names or not all(isinstance(each, str) for each in names):
            raise InputError(f"metric={name!r}: name one metric, or several")
        for each in names:
            if (missing := undeclared_sums(reader, target, each)) is not None:
                for part, sql in missing.expressions:
                    check_expression(sql, f"metric {missing.metric!r}, sum {part!r}")
                self.writer.define(target, missing, wait)
        return Result.joined([metric(reader, target, each, **asked) for each in names])

    def close(self) -> None:
        """Stop the background work, and close the connections to the state."""
        self.writer.close()


def _seconds_of(patience: float | None) -> float:
    if patience is None:
        return math.inf
    if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not patience >= 0:
        raise InputError(f"patience={patience!r}: give a number of seconds, at least 0")
    return float(patience)


def open_project(settings: Settings) -> Store:
    """The store of these settings, for questions to the project that they choose (see ``project_to_ask``).

    Raises:
        StoreError: there is no store at that place; a question creates none.
        UnknownNameError: the project does not exist, or there are several and none was chosen.
    """
    store = Store(place_to_ask(settings), settings.project, retention=settings.retention)
    try:
        project = project_to_ask(store, settings)
    except UnknownNameError:
        store.close()
        raise
    if project == store.project:
        return store
    store.close()
    return Store(store.place, project, retention=settings.retention)


def projects_to_fold(settings: Settings) -> tuple[Place, list[str]]:
    """The store's place, and the chosen project; if none was chosen, all projects.

    Raises:
        StoreError: there is no store at that place.
        UnknownNameError: the chosen project does not exist.
    """
    place = place_to_ask(settings)
    with closing(Store(place, settings.project)) as store:
        return place, [project_to_ask(store, settings)] if settings.named_by else projects(store)


class FileDeclared:
    """What fourfold.toml declares, declared once by a process that counts or judges: it has read the file once, too.

    Raises:
        ConfigError: it cannot be declared.
    """

    def __init__(self, settings: Settings) -> None:
        from_file.check(settings)
        self._settings = settings
        self._done = not (settings.tasks or settings.objectives)

    def once(self) -> None:
        """Declare it, if this was not done: where there is a store, and the project is known or the file names it.

        Raises:
            StoreError: there is no store, or it cannot be used.
        """
        if self._done:
            return
        settings = self._settings
        with closing(Store(place_to_ask(settings), settings.project)) as store:
            known = store.reader.database.recall(catalogue.projects) if settings.named_by else []
            project = from_file.project_of(settings, known) or from_file.project_of(settings, projects(store))
            if project is not None:
                store.writer.declare(settings, project)
                self._done = True


def project_to_examine(settings: Settings) -> tuple[Place, str]:
    """The store's place, and the project to examine, if possible without taking or counting anything.

    Raises:
        StoreError: there is no store at that place.
        UnknownNameError: the project does not exist, or there are several and none was chosen.
    """
    place = place_to_ask(settings)
    try:
        with closing(Store(place, settings.project)) as store:
            known = store.reader.database.recall(catalogue.projects)
            if len(known) == 1 and not settings.named_by:
                return place, known[0]
            return place, project_to_ask(store, settings)
    except StoreError:  # doctor examines it
        return place, settings.project


def place_to_ask(settings: Settings) -> Place:
    """The store's place, where there must be a store.

    Raises:
        StoreError: it does not; the message names the folder.
    """
    folder = store_folder(settings.store)  # in a bucket, to ask for it may fail: that is a StoreError too
    if not is_store(folder):
        raise StoreError(
            f"there is no store at {folder}. Log something first, point {settings.option.format('store')} or "
            "FOURFOLD_STORE at it, or run 'fourfold demo'."
        )
    return settings.place


def is_store(folder: StorePath) -> bool:
    """Whether there is a store at a path."""
    return any((folder / part).exists() for part in ("inbox", "log", "state.db"))


def projects(store: Store) -> list[str]:
    """The projects of a store, including those whose first messages have just arrived."""
    store.caught_up()
    return store.reader.database.recall(catalogue.projects)


def project_to_ask(store: Store, settings: Settings, *, has_logged: bool = False) -> str:
    """The project to ask: the chosen one, else the only one.

    Args:
        store: the store to look into.
        settings: the chosen project, and where it was chosen.
        has_logged: whether this process has logged without choosing a project: then it is the default one, if that
            exists.

    Raises:
        UnknownNameError: the project does not exist, or there are several; the message lists them.
    """
    chosen = bool(settings.named_by) or has_logged
    if chosen and settings.project in store.reader.database.recall(catalogue.projects):
        return settings.project
    known = projects(store)
    if chosen and settings.project in known:
        return settings.project
    if not known:
        if store.reader.quarantine.entries():  # all records went to quarantine, which the user should see
            return settings.project
        raise UnknownNameError(f"nothing has been logged in the store at {store.folder} yet; or run 'fourfold demo'")
    if settings.named_by:
        where = f" (from {settings.named_by}) in the store at {store.folder}"
        raise suggest("project", settings.project, known, where)
    if len(known) > 1:
        raise UnknownNameError(
            f"the store at {store.folder} holds several projects: {', '.join(known)}. Choose one with "
            f"{settings.option.format('project')}, FOURFOLD_PROJECT, or project in fourfold.toml."
        )
    return known[0]
