"""What ``fourfold.toml`` declares, sent to the store by a process that opens it to write.

It goes through the inbox, in order with what other processes declare, and counts where it is new or was changed in the
file since it was declared last (see ``state.in_file``); what was declared so already is not sent at all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fourfold.config import DEFAULT_PROJECT, FILE, Settings, section_of
from fourfold.engine import check_slices
from fourfold.errors import StoreError
from fourfold.log import Inbox, messages
from fourfold.log.writers import new_writer
from fourfold.model import Objective, Task
from fourfold.state import Database, catalogue, in_file, objectives

logger = logging.getLogger("fourfold")


def check(settings: Settings) -> None:
    """Reject what cannot be declared, beyond what ``config.load`` rejects.

    Raises:
        ConfigError: an expression of a task's slices is invalid; it names the file and the section.
    """
    for task in settings.tasks:
        check_slices(task, section_of("task", task.name))


def project_of(settings: Settings, known: Sequence[str], *, may_be_new: bool = False) -> str | None:
    """The project that the file's declarations are for: the chosen one; else the store's only one, or the default one.

    Args:
        settings: with the project, and where it was chosen.
        known: the store's projects.
        may_be_new: whether it may be one that the store does not know; one that the file itself names always may.
    """
    if settings.named_by:
        is_meant = may_be_new or settings.named_by == FILE or settings.project in known
        return settings.project if is_meant else None
    if len(known) == 1:
        return known[0]
    return DEFAULT_PROJECT if DEFAULT_PROJECT in known or (may_be_new and not known) else None


def declare(settings: Settings, project: str, database: Database, inbox: Inbox) -> None:
    """Send what the file declares for a project and the state does not have from it.

    Raises:
        StoreError: it cannot be sent.
    """
    noted = database.recall(in_file.sections, project)
    tasks = [task for task in settings.tasks if in_file.is_new(noted, task)]
    aims = [objective for objective in settings.objectives if in_file.is_new(noted, objective)]
    writer = new_writer()
    try:
        for number, header in enumerate(messages.of_file(project, tasks, aims), 1):
            inbox.put(writer, number, header)
    except OSError as error:
        raise StoreError(f"what {FILE} declares cannot be sent to {inbox.folder}: {error}") from error


def unknown(settings: Settings, project: str, database: Database) -> list[str]:
    """The sections that declare what a project does not know, under any definition; none if they are for another."""
    if project_of(settings, database.recall(catalogue.projects)) != project:
        return []
    tasks, aims = database.recall(catalogue.tasks, project), database.recall(objectives.listed, project)
    missing: list[Task | Objective] = [task for task in settings.tasks if task.name not in tasks]
    missing += [objective for objective in settings.objectives if objective.name not in aims]
    return [in_file.section(declared) for declared in missing]


def tell_overruled(settings: Settings, project: str, database: Database) -> None:
    """Warn of what a process declared otherwise after the file had, as that holds."""
    noted = database.recall(in_file.sections, project)
    tasks, aims = database.recall(catalogue.tasks, project), database.recall(objectives.listed, project)
    current: list[Task | Objective] = [*(task.without_sums for task in tasks.values()), *aims.values()]
    by_section = {in_file.section(declared): declared for declared in current}
    in_the_file: list[Task | Objective] = [*settings.tasks, *settings.objectives]
    for declared in in_the_file:
        now = by_section.get(name := in_file.section(declared))
        if now not in (None, declared) and not in_file.is_new(noted, declared):
            logger.warning(
                "%s, [%s]: a process has declared it otherwise since, and that holds until the section is changed",
                FILE, name,
            )  # fmt: skip
