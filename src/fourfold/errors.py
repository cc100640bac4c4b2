"""What can go wrong, as few classes as help a caller to tell cases apart.

Every message says what, where, what was expected and what to do.
"""


class FourfoldError(Exception):
    """The root of all errors raised by fourfold. ``exit_code`` is what the command line exits with."""

    exit_code = 2


class ConfigError(FourfoldError):
    """A declaration or setting is wrong: a store that cannot be used, a task that names no stream."""


class InputError(FourfoldError, ValueError):
    """A value passed to a function is wrong; the message names the field and the value."""


class UnknownNameError(FourfoldError, LookupError):
    """A look-up found nothing; the message lists what exists."""


class SchemaError(FourfoldError):
    """A batch does not fit its stream: a column changed its type. The batch is kept in quarantine."""


class StoreError(FourfoldError):
    """A store could not be read or written: disk, permissions, a damaged or foreign file."""

    exit_code = 3


def let_end(error: BaseException) -> None:
    """Go on with an error that was caught as whatever an object of the host's raises, but for what ends a process.

    Some raise what is no ``Exception``: a cancelled task's result, a panic of a library in another language.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error


def suggest(kind: str, name: str, known: list[str], where: str = "") -> UnknownNameError:
    """The error for a failed look-up: what was asked, ``where``, the nearest name, and everything that exists."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(sorted(known)[:30]) or "none yet"
    return UnknownNameError(f"No {kind} named {name!r}{where}.{hint} Known: {listed}.")
