"""Writes docs/api.md, the reference of the public API, from the docstrings: ``python docs/reference.py``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import fourfold as ff

TARGET = Path(__file__).parent / "api.md"
HEAD = """# The API

Written from the docstrings by `python docs/reference.py`; a test compares. `import fourfold as ff`, then:
"""
ORDER = (
    ("Log and declare", ("init", "log", "flush", "task", "objective", "component", "run", "history", "delete")),
    (
        "Ask",
        (
            "metric",
            "status",
            "objectives",
            "problems",
            "streams",
            "runs",
            "trace",
            "compare",
            "skew",
            "discrepancies",
            "metrics",
        ),
    ),
)


def text() -> str:
    """The whole page."""
    rest = [name for name in ff.__all__ if not any(name in names for _, names in ORDER)]
    errors = tuple(name for name in rest if name.endswith("Error"))
    answers = tuple(name for name in rest if name not in errors)
    sections = [*ORDER, ("What is answered", answers), ("Errors", errors)]
    return "\n".join([HEAD, *(f"## {title}\n\n" + "\n".join(map(_entry, names)) for title, names in sections)])


def _entry(name: str) -> str:
    member = getattr(ff, name)
    if inspect.ismodule(member):
        return f"### ff.{name}\n\n{_prose(member)}\n"
    lines = [f"### ff.{name}{'' if inspect.isclass(member) else _signature(member)}", "", _prose(member), ""]
    if inspect.isclass(member) and not issubclass(member, Exception):
        for attribute, value in sorted(_own(member).items()):
            function = value.fget if isinstance(value, property) else inspect.unwrap(getattr(member, attribute))
            shown = "" if isinstance(value, property) else _signature(function)
            first = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
            lines.append(f"- `.{attribute}{shown}`: {first}")
        lines.append("")
    return "\n".join(lines)


def _own(member: type) -> dict[str, Any]:
    """The methods and properties that a class and our bases of it have."""
    classes = [c for c in reversed(member.__mro__) if c.__module__.startswith("fourfold")]
    both = {name: value for c in classes for name, value in vars(c).items()}
    kinds = (property, staticmethod, classmethod)
    return {
        name: value
        for name, value in both.items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, kinds))
    }


def _signature(function: Any) -> str:
    """A function's parameters with their defaults, without the types: these are in the editor."""
    parameters = inspect.signature(function).parameters.values()
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters if parameter.name != "self"
    ]
    return str(inspect.Signature(bare))


def _prose(member: Any) -> str:
    """A docstring in Markdown: sections in bold, arguments as a list, code in single backticks."""
    lines = []
    for line in (inspect.getdoc(member) or "").replace("``", "`").splitlines():
        if line in ("Args:", "Returns:", "Raises:"):
            lines.append(f"*{line.rstrip(':')}*\n")
        elif match := re.match(r"    (\*{0,2}\w+): (.*)", line):
            lines.append(f"- `{match[1]}`: {match[2]}")
        else:
            lines.append(f"  {line.strip()}" if line.startswith("    ") else line)
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
