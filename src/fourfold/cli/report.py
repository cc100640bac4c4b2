"""``fourfold report``: a report in one file, to send to someone or to keep."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.screen import Words, console
from fourfold.errors import InputError
from fourfold.views.asking import Asked
from fourfold.views.document import document

Output = Annotated[Path, typer.Option("--output", "-o", help="The file, such as week.html.")]
Start = Annotated[str, typer.Option("--start", help="From when: 2013-04-01, or -7d: so long before the end.")]


def command(
    output: Output = Path("report.html"),
    start: Start = "-28d",
    end: Annotated[str, typer.Option("--end", help="Until when; likewise, before the data's end.")] = "",
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Write what is wrong, how objectives stand, and each task into one HTML file, without scripts."""
    opened = open_store(store, project)
    text = document(opened.caught_up(), Asked(start=start, end=end), time.time())
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror or error}; choose another file") from error
    if json:
        print_json([{"file": str(output.absolute()), "bytes": len(text.encode())}])
        return
    console().print(Words(f"The report is in {output} ({len(text.encode()) / 1e3:,.0f} kB)."))
