"""The screen: which characters reach it, and how a table fits its width.

Users' values and names may hold escape codes, line breaks and marks that reverse the direction of writing; and not
every screen can show every character. All text goes through ``Words``, and so through ``visible``.
"""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

_JOINERS = "\u200c\u200d"  # format characters that are part of a letter or an emoji
_PLAIN = {  # how marks are written if the encoding lacks them
    "●": "*", "◐": "o", "✖": "x", "▁": "_", "▂": ",", "▃": "-", "▄": "~", "▅": "=", "▆": "+", "▇": "*", "█": "#",
    "·": ".", "–": "-", "…": "...", "×": "x", "±": "+-", "≥": ">=", "→": "->", "²": "2", "Δ": "delta", "’": "'",
}  # fmt: skip


def visible(text: str, encoding: str | None = None) -> str:
    """A text without effects on the screen, in characters that the encoding has.

    Control characters, line breaks and marks that reverse the direction are written as in Python ("\\\\x1b");
    so are characters that the encoding (by default that of the standard output) lacks, unless a plain one will do.

    >>> visible("a\\x1b[31m\\n\\u202eb"), visible("0.5 ±.01 é", "ascii")
    ('a\\\\x1b[31m\\\\n\\\\u202eb', '0.5 +-.01 \\\\xe9')
    """
    encoding = encoding or encoding_of(sys.stdout)
    if text.isprintable() and (text.isascii() or encoding == "utf-8"):
        return text
    return "".join(_shown(character, encoding) for character in text)


def encoding_of(stream: Any) -> str:
    """The encoding of a stream, in small letters."""
    return str(getattr(stream, "encoding", None) or "utf-8").lower()


def _shown(character: str, encoding: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Zl", "Zp") or (category == "Cf" and character not in _JOINERS):
        return escaped(character)
    try:
        character.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _PLAIN.get(character) or escaped(character)
    return character


def escaped(character: str) -> str:
    """A character as Python writes it in a text."""
    return character.encode("unicode_escape").decode()


class Words(Text):
    """Text whose characters are all visible."""

    def __init__(self, text: str = "", style: str = "", **more: Any) -> None:
        super().__init__(visible(text), style, **more)

    def append(self, text: Any, style: Any = None) -> Words:
        """Add a text, or words, at the end."""
        super().append(visible(text) if isinstance(text, str) else text, style)
        return self


class Screen(Console):
    """A console that writes texts with markup in the characters that it has."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text of ours with markup, never the user's."""
        return super().render_str("\n".join(map(visible, text.split("\n"))), **options)


def console() -> Screen:
    """Where commands print."""
    return Screen(highlight=False, emoji=False)
