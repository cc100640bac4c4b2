"""Charts as data: small frozen specifications, each drawn in two ways. Pure: data in, a specification out.

``echarts()`` gives an option for Apache ECharts as plain JSON: no functions, no formatters, no markup, and colours by
the names of ``tokens``, so that a page chooses the theme. ``svg()`` gives a static picture without scripts, for
notebooks and files. Text that users wrote stays text in both: it is never a template, never markup.
"""

from fourfold.charts.bands import Bands
from fourfold.charts.bars import Bars, Series
from fourfold.charts.drawing import Span
from fourfold.charts.graph import Graph, Node
from fourfold.charts.heat import Confusion, Heat
from fourfold.charts.line import Band, Curve, Limit, Line
from fourfold.charts.pair import Bin, Pair, Reliability
from fourfold.charts.spec import Chart
from fourfold.charts.timeline import Stretch, Timeline

__all__ = [
    "Band",
    "Bands",
    "Bars",
    "Bin",
    "Chart",
    "Confusion",
    "Curve",
    "Graph",
    "Heat",
    "Limit",
    "Line",
    "Node",
    "Pair",
    "Reliability",
    "Series",
    "Span",
    "Stretch",
    "Timeline",
]
