"""Who may do what with a server: tokens, each with a role and the projects that it is good for."""

from __future__ import annotations

import dataclasses
import enum


class Role(enum.StrEnum):
    """What a token allows: to look, to send, or everything."""

    VIEWER = "viewer"
    INGEST = "ingest"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Whether who has this role may do what needs another."""
        return self in (needed, Role.ADMIN)


@dataclasses.dataclass(frozen=True)
class Token:
    """A token as it is known, without its secret; times in seconds since 1970.

    ``projects`` are those that it is good for; none means all. ``revoked`` is when it was revoked, if it was.
    """

    id: str
    name: str
    role: Role
    projects: tuple[str, ...]
    created: float
    revoked: float | None = None

    def covers(self, project: str) -> bool:
        """Whether the token is good for a project."""
        return not self.projects or project in self.projects
