"""The form in which records travel: what a sender has to know of it.

``Columns`` makes Arrow tables of them here, and needs NumPy and Arrow for that. ``Plain`` sends them as they are, and
the collector makes the same tables of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, BinaryIO, NamedTuple, Protocol

from fourfold.model import Artifact, Plausible, Run
from fourfold.sdk.record import Record


class Payload(Protocol):
    """Records in a form."""

    @property
    def num_rows(self) -> int:
        """How many there are."""

    @property
    def nbytes(self) -> int:
        """About how much memory they take."""


class Frames(Protocol):
    """What is recorded of the frames that runs read and write: the functions of a module."""

    def found(self, value: Any) -> Any:
        """A value as a frame; None if it is none."""

    def names_of(self, frame: Any) -> list[str]:
        """The columns of what was found."""

    def recorded(
        self, session: Any, run: Run, direction: str, name: str, frame: Any, time: str | None, by: Sequence[str],
        share: float | None,
    ) -> tuple[Artifact, Any]:  # fmt: skip
        """A frame as an artifact, and how it was counted, if it was."""


class Batch(NamedTuple):
    """Records that travel together, or, with an ``error``, that cannot be logged and are kept aside."""

    payload: Any
    key: str | None
    time: str | None
    unreadable: int  # how many of their times cannot be read
    error: BaseException | None = None


class Form(Protocol):
    """Makes payloads of what ``ff.log`` is given, and messages of payloads."""

    suffix: str  # of a message's file
    encoding: str  # how HTTP calls the way in which it is compressed
    together: int  # how many records that wait wake the sender at once; also the most in a message

    @property
    def frames(self) -> Frames:
        """What is recorded of the frames of runs."""

    def of_data(
        self, data: Any, key: str | Sequence[str] | None, time: str | None, logged: int, run: str | None,
        times: Plausible,
    ) -> list[Batch]:  # fmt: skip
        """A frame, or a list of dicts.

        Raises:
            InputError: it cannot be logged as a whole.
        """

    def of_records(self, records: Sequence[Record], times: Plausible) -> list[Batch]:
        """Records of one stream; no value raises an error, and no record affects another."""

    def kept(self, data: Any) -> Any:
        """Data that cannot be logged, in a form that can be kept."""

    def parts(self, payload: Any, nbytes: int) -> Sequence[Any]:
        """A payload in parts of about so many bytes at most."""

    def write(self, file: BinaryIO, header: Mapping[str, Any], payload: Any | None) -> None:
        """Write a message's file."""

    def compressed(self, content: bytes) -> bytes:
        """A message's bytes, compressed."""


def in_parts(texts: Iterable[str], most: int) -> list[list[str]]:
    """Texts in parts of so many characters at most, or of one text that has more.

    >>> in_parts(["a", "bc", "d", "efgh"], 3)
    [['a', 'bc'], ['d'], ['efgh']]
    """
    parts: list[list[str]] = []
    size = 0
    for text in texts:
        size += len(text)
        if not parts or size > most:
            parts.append([])
            size = len(text)
        parts[-1].append(text)
    return parts


def usual() -> Form:
    """Columns, where this installation can make them."""
    if find_spec("fourfold.sdk.columns") is not None:
        from fourfold.sdk.columns import Columns

        return Columns()
    from fourfold.sdk.plain import Plain

    return Plain()
