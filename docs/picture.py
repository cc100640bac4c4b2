"""Draws the README's picture: the demo's screen. Run it after `make demo`: .venv/bin/python docs/picture.py"""

import io
import re
import time
from pathlib import Path

from rich.console import Console

from fourfold.cli.demo import PROJECT
from fourfold.cli.status import draw, overview
from fourfold.store import Store

console = Console(width=86, record=True, file=io.StringIO(), force_terminal=True)
draw(overview(Store(".fourfold", PROJECT).caught_up(), time.time()), console)
svg = console.export_svg(title="fourfold demo")
svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # the reader's own monospace font will do
(Path(__file__).parent / "demo.svg").write_text(svg, encoding="utf-8")
