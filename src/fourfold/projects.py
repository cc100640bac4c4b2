"""Which store, and which of its projects, a question is put to."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from fourfold.config import Settings
from fourfold.errors import StoreError, UnknownNameError, suggest
from fourfold.log import store_folder
from fourfold.state import catalogue
from fourfold.store import Store


def open_project(settings: Settings) -> Store:
    """The store of these settings, for questions to the project that they choose (see ``project_to_ask``).

    Raises:
        StoreError: there is no store at that place; nothing is made by asking.
        UnknownNameError: the project is not there, or there are several and none was chosen.
    """
    store = Store(folder_to_ask(settings), settings.project, retention=settings.retention)
    try:
        project = project_to_ask(store, settings)
    except UnknownNameError:
        store.close()
        raise
    if project == store.project:
        return store
    store.close()
    return Store(store.folder, project, retention=settings.retention)


def projects_to_fold(settings: Settings) -> tuple[Path, list[str]]:
    """The store's folder, and the project that was chosen; where none was, all that there are.

    Raises:
        StoreError: there is no store at that place.
        UnknownNameError: the project that was chosen is not there.
    """
    folder = folder_to_ask(settings)
    with closing(Store(folder, settings.project)) as store:
        return folder, [project_to_ask(store, settings)] if settings.named_by else projects(store)


def project_to_examine(settings: Settings) -> tuple[Path, str]:
    """The store's folder, and the project to examine, which is found without taking or counting anything if it can be.

    Raises:
        StoreError: there is no store at that place.
        UnknownNameError: the project is not there, or there are several and none was chosen.
    """
    folder = folder_to_ask(settings)
    try:
        with closing(Store(folder, settings.project)) as store:
            known = store.database.recall(catalogue.projects)
            if len(known) == 1 and not settings.named_by:
                return folder, known[0]
            return folder, project_to_ask(store, settings)
    except StoreError:  # that is what is to be examined
        return folder, settings.project


def folder_to_ask(settings: Settings) -> Path:
    """The store's folder, which must be there.

    Raises:
        StoreError: it is not; the message names the folder.
    """
    folder = store_folder(settings.store)
    if not is_store(folder):
        raise StoreError(
            f"there is no store at {folder}. Log something first, point {settings.option.format('store')} or "
            "FOURFOLD_STORE at it, or run 'fourfold demo'."
        )
    return folder


def is_store(folder: Path) -> bool:
    """Whether there is a store in a folder."""
    return any((folder / part).exists() for part in ("inbox", "log", "state.db"))


def projects(store: Store) -> list[str]:
    """The projects that a store holds, those whose first messages have just come among them."""
    store.catch_up()
    return store.database.recall(catalogue.projects)


def project_to_ask(store: Store, settings: Settings, *, has_logged: bool = False) -> str:
    """The project that is meant: the one chosen; where none was, the only one there is.

    Args:
        store: the store to look into.
        settings: what was chosen, and by what.
        has_logged: whether who asks has logged without choosing a project: then it is the default one, if that is
            there.

    Raises:
        UnknownNameError: the project is not there, or there are several; the message lists them.
    """
    chosen = bool(settings.named_by) or has_logged
    if chosen and settings.project in store.database.recall(catalogue.projects):
        return settings.project
    known = projects(store)
    if chosen and settings.project in known:
        return settings.project
    if not known:
        if store.quarantined():  # all that came was kept aside, and is to be seen
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
