"""The host process: an error of ours becomes a warning in its log, once per process."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar

from fourfold.errors import ConfigError, let_end

logger = logging.getLogger("fourfold")
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class Host:
    """The process that fourfold is a guest in."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, message: str, *, once: str | None = None) -> None:
        """Warn in the host's log; each message once per process."""
        if (once or message) not in self._warned:
            self._warned.add(once or message)
            logger.warning("%s", message)

    def never_raise(self, what: str, action: Callable[[], object]) -> None:
        """Run code that must not disturb the host: an error becomes a warning."""
        try:
            action()
        except BaseException as error:
            self.failed(what, error)

    def failed(self, what: str, error: BaseException) -> None:
        """Warn of an error, unless it ends the process."""
        let_end(error)
        self.warn(f"{what}: {type(error).__name__}: {error_text(error)}", once=f"{what}{type(error)}")


def guarded(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | None]:
    """A method that the host calls, such that it raises nothing: an error becomes a warning, and None is returned.

    Nothing is called outside the ``try``: not even a stack that is nearly full makes it raise.
    """

    @functools.wraps(method)
    def safely(self: S, /, *arguments: P.args, **named: P.kwargs) -> T | None:
        try:
            return method(self, *arguments, **named)
        except ConfigError:  # of a session that begins here
            raise
        except BaseException as error:
            let_end(error)
            logger.warning("%s: %s: %s", method.__name__, type(error).__name__, error_text(error))
            return None

    return safely


def summary(reasons: Iterable[str]) -> str:
    """The first of several reasons; and whether there are others, which are told beside what they are of.

    >>> summary(["too long", "too long"]), summary(["too long", "no text", "too old"])
    ('too long', 'too long (of others there are other reasons, beside each)')
    """
    first, *others = dict.fromkeys(reasons)
    return f"{first} (of others there are other reasons, beside each)" if others else first


def error_text(error: BaseException) -> str:
    """An error's text, even if its ``str`` fails."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode() or type(error).__name__
    except BaseException as error:
        let_end(error)
        return type(error).__name__


def shown(value: Any) -> str:
    """A value as text, even if its ``repr`` fails."""
    try:
        return repr(value)[:100_000].encode("utf-8", "backslashreplace").decode()
    except BaseException as error:
        let_end(error)
        return f"a {type(value).__name__} that cannot be shown: {type(error).__name__}"


def is_cluster_frame(value: object) -> bool:
    """Whether a value is a data frame of PySpark's, which need not be loaded for that."""
    kind = type(value)
    return kind.__name__ == "DataFrame" and kind.__module__.startswith("pyspark.")
