"""All errors, in as few classes as a caller needs to tell them apart.

Every message says what, where, what was expected and what to do.
"""


class FourfoldError(Exception):
    """The root of all errors raised by fourfold. ``exit_code`` is what the command line exits with."""

    exit_code = 2


class ConfigError(FourfoldError):
    """A declaration or setting is wrong: an unusable store, a task that names no stream."""


class InputError(FourfoldError, ValueError):
    """A value passed to a function is wrong; the message names the field and the value."""


class UnknownNameError(FourfoldError, LookupError):
    """A look-up found nothing; the message lists what exists."""


class SchemaError(FourfoldError):
    """A batch does not fit its stream: a column changed its type. The batch is kept in quarantine."""


class StoreError(FourfoldError):
    """A store could not be read or written: disk, permissions, a damaged or foreign file."""

    exit_code = 3


class CheckError(FourfoldError):
    """A run's outputs are not what they should be, and its component was declared with ``check="block"``.

    ``problems`` says what is wrong with them, one text each.
    """

    exit_code = 1

    def __init__(self, text: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.problems = problems


def let_end(error: BaseException) -> None:
    """Raise an error again if it ends the process; any other error of a host's object is ignored.

    Some are no ``Exception``: a cancelled task's result, a panic of a library in another language.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error


def suggest(kind: str, name: str, known: list[str], where: str = "") -> UnknownNameError:
    """The error for a failed look-up: the name, ``where``, the nearest name, and all known names."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(sorted(known)[:30]) or "none yet"
    return UnknownNameError(f"No {kind} named {name!r}{where}.{hint} Known: {listed}.")
