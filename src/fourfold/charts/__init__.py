"""Charts as data: small frozen specifications, each drawn in two ways. Pure: data in, a specification out.

``echarts()`` gives an option for Apache ECharts as plain JSON: no functions, no formatters, no markup, and colours by
the names of ``tokens``, so that a page chooses the theme. ``svg()`` gives a static picture without scripts, for
notebooks and files. Text that users wrote stays text in both: it is never a template, never markup.
"""

from fourfold.charts.line import Band, Curve, Limit, Line, Span
from fourfold.charts.spec import Chart

__all__ = ["Band", "Chart", "Curve", "Limit", "Line", "Span"]
