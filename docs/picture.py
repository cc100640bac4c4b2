"""Draws the README's picture: the demo's screen. Run it after `make demo`: .venv/bin/python docs/picture.py"""

import io
import re
from pathlib import Path

from rich.console import Console

from fourfold.cli import status
from fourfold.cli.demo import PROJECT
from fourfold.store import Store

console = Console(width=86, record=True, file=io.StringIO(), force_terminal=True)
status.draw(status.compute(Store(".fourfold", PROJECT)), console)
svg = console.export_svg(title="fourfold demo")
svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # the reader's own monospace font will do
(Path(__file__).parent / "demo.svg").write_text(svg, encoding="utf-8")
