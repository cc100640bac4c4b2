"""The layers of the design, and the lists that must stay whole."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

from fourfold.cli import app
from fourfold.counts import KINDS
from fourfold.metrics import METRICS

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "fourfold"

# Each part of the package, and the level that it stands on. A file imports only what stands on a lower level, or in
# its own part: what stands on one level, side by side, does not import each other.
LEVELS = {
    "errors": 0, "charts": 0,
    "model": 1,
    "config": 2, "counts": 2,
    "fold": 3, "metrics": 3, "expectations": 3,
    "log": 4, "state": 4, "engine": 4,
    "ingest": 5, "query": 5,
    "store": 6,
    "reports": 7,
    "watch": 8,
    "sdk": 9, "views": 9,
    "integrations": 10,
    "serve": 11,
    "cli": 12,
}  # fmt: skip
PURE = ("model", "counts", "charts", "fold", "metrics")
NO_IO = {"os", "pathlib", "socket", "sqlite3", "sqlalchemy", "deltalake", "duckdb", "time", "datetime", "requests"}


def modules() -> list[Path]:
    return [p for p in SOURCE.rglob("*.py") if "migrations" not in p.parts and "examples" not in p.parts]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_imports_only_lower_levels(path: Path) -> None:
    parts = path.relative_to(SOURCE).parts
    own = parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for name in imports(path):
        if not name.startswith("fourfold."):
            assert name != "fourfold" or any(i.startswith("fourfold.") for i in imports(path)), (
                f"{path} imports the top package"
            )
            continue
        target = name.split(".")[1]
        if target in (own, "examples") or target.startswith("__"):
            continue
        assert LEVELS[target] < LEVELS[own], (
            f"{path.relative_to(ROOT)} (level {LEVELS[own]}) imports {name} (level {LEVELS[target]})"
        )


def loaded(path: Path) -> set[str]:
    """The modules of ours that a file loads when it is loaded itself: not what a function imports, nor types alone."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in names if name in MODULES}


MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in modules()
}


def test_no_modules_load_each_other_inside_packages_either() -> None:
    graph = {name: loaded(path) - {name} for name, path in MODULES.items()}
    for name in graph:  # a package that gathers what its modules offer loads them; they do not load it for that
        graph[name] -= {package for package in graph[name] if name.startswith(f"{package}.")}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_each_part_of_the_package_has_its_level() -> None:
    parts = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()} - {"__init__"}
    assert parts == set(LEVELS)


@pytest.mark.parametrize("name", PURE)
def test_the_core_does_no_io_and_has_no_clock(name: str) -> None:
    place = SOURCE / name
    for path in [place] if place.is_file() else place.rglob("*.py"):
        roots = {found.split(".")[0] for found in imports(path)}
        assert not roots & (NO_IO - ({"datetime"} if path.name == "time.py" else set())), path


def test_nothing_inside_imports_the_top_package() -> None:
    for path in modules():
        if path != SOURCE / "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            tops = [n for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names if a.name == "fourfold"]
            assert not tops, path


def test_each_dependency_is_justified_in_one_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)}
    declared_names = {re.split(r"[<>=\[]", d)[0] for d in declared}
    lines = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").splitlines()
    justified = {m[1] for line in lines if (m := re.match(r"\| `([^`]+)` \|", line))}
    assert justified == declared_names


def test_each_metric_is_described_in_the_docs() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)", text, re.MULTILINE)) == set(METRICS)


def test_each_command_is_shown_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert f"`fourfold {command.name}" in text or f"fourfold {command.name}\n" in text, command.name


def test_each_kind_of_count_has_distinct_names() -> None:
    for kind in KINDS.values():
        assert len({*kind.tallies, *kind.sums}) == len(kind.tallies) + len(kind.sums)


def test_the_repository_names_no_machine() -> None:
    for path in [*SOURCE.rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(work|root|home)/\w", text), path
