"""The logs of all streams in a store, by project and stream."""

from __future__ import annotations

import hashlib

from fourfold.log.paths import StorePath, in_order
from fourfold.log.stream import StreamLog, names

_LONGEST_FOLDER = 200  # characters


class Logs:
    """The logs of a store, opened once each."""

    def __init__(self, folder: StorePath) -> None:
        self.folder = folder
        self._open: dict[tuple[str, str], StreamLog] = {}

    def found(self) -> list[tuple[str, str]]:
        """The projects and streams whose logs are there, whether the state knows of them or not."""
        present = (names(path.parent) for path in in_order(self.folder.glob("*/*/_delta_log")))
        return [found for found in present if found is not None]

    def has(self, project: str, stream: str) -> bool:
        """Whether a stream has a log, though it may be one that cannot be read."""
        return self.get(project, stream).is_begun

    def project(self, project: str) -> StorePath:
        """The folder of a project's logs."""
        return self.folder / _as_folder(project)

    def any(self) -> bool:
        """Whether there is any log."""
        return next(self.folder.glob("*/*/_delta_log"), None) is not None

    def get(self, project: str, stream: str) -> StreamLog:
        """The log of a stream; its folder's name is the stream's, with what a path cannot hold escaped."""
        key = (project, stream)
        if key not in self._open:
            self._open[key] = StreamLog(self.folder / _as_folder(project) / _as_folder(stream), stream, project)
        return self._open[key]


def _as_folder(name: str) -> str:
    """A name as a folder's: letters, digits, "_", "-" and inner dots stay, every other byte becomes ~ and its hex.

    No "%" and no "..": the Delta engine reads paths as URLs.
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else _escaped(c) for c in name)
    if plain.startswith((".", "_")):  # a folder of its own to systems, and to the Delta engine
        plain = _escaped(plain[0]) + plain[1:]
    if len(plain) > _LONGEST_FOLDER:
        plain = f"{plain[: _LONGEST_FOLDER - 33]}~{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"
    return plain or "~"


def _escaped(character: str) -> str:
    return "".join(f"~{byte:02x}" for byte in character.encode(errors="surrogatepass"))
