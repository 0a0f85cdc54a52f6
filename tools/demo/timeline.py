"""A time line of several panels, one below the other, as SVG."""

import html
import math

# Colours that people with any colour vision tell apart (Okabe and Ito).
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000"]
WIDTH, LEFT, RIGHT, GAP = 1000, 84, 24, 34


class Panel:
    """One panel: a title, a height, and marks in the coordinates of its data."""

    def __init__(self, title, height, low, high, unit="", logarithmic=False, ticks=None):
        self.title, self.height, self.low, self.high, self.unit = title, height, low, high, unit
        self.logarithmic, self.ticks, self.marks = logarithmic, ticks, []

    def place(self, value):
        """The distance of a value from the panel's top."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.height * (1 - part)

    def line(self, points, colour, dashed=False, width=1.5):
        """A line through (time, value) points; a value of None interrupts it."""
        self.marks.append(("line", points, colour, dashed, width))

    def band(self, points, colour, opacity=0.2):
        """What lies between the values of (time, low, high) points."""
        self.marks.append(("band", points, colour, opacity))

    def span(self, start, end, colour, text):
        """A filled stretch of time with a name."""
        self.marks.append(("span", start, end, colour, text))

    def default_ticks(self):
        if self.ticks is not None:
            return self.ticks
        if self.logarithmic:
            return [10.0 ** power for power in range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)]
        step = 10 ** math.floor(math.log10((self.high - self.low) / 2))
        while (self.high - self.low) / step > 5:
            step *= 2
        return [self.low + step * place for place in range(int((self.high - self.low) / step) + 1)]


def number(value):
    return f"{value:.4g}"


def draw(title, legend, panels, seconds):
    """The picture. `legend` is a list of (name, colour, kind), the kind one of 'line', 'dash', 'band'."""
    parts, top = [], 30

    def text(x, y, content, size=12, anchor="start", extra=""):
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{extra}>{html.escape(content)}</text>')

    text(LEFT, 20, title, 15, extra=' font-weight="bold"')
    x = LEFT
    for name, colour, kind in legend:
        width = 44 + 6.8 * len(name)
        if x + width > WIDTH - RIGHT:
            x, top = LEFT, top + 18
        if kind == "band":
            parts.append(f'<rect x="{x:.1f}" y="{top}" width="20" height="12" fill="{colour}" opacity="0.25"/>')
        else:
            dash = ' stroke-dasharray="4 3"' if kind == "dash" else ""
            parts.append(f'<line x1="{x:.1f}" x2="{x + 20:.1f}" y1="{top + 6}" y2="{top + 6}" stroke="{colour}" stroke-width="2.5"{dash}/>')
        text(x + 25, top + 10, name)
        x += width
    top += 18 + GAP
    inner = WIDTH - LEFT - RIGHT

    def across(time):
        return LEFT + inner * time / seconds

    for panel in panels:
        text(LEFT, top - 7, panel.title, 12, extra=' font-weight="bold"')
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{inner}" height="{panel.height}" fill="none" stroke="#888"/>')
        for tick in panel.default_ticks():
            y = top + panel.place(tick)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            text(LEFT - 6, y + 4, number(tick) + panel.unit, 11, "end")
        for mark in panel.marks:
            parts.append(shape(mark, panel, across, top))
        top += panel.height + GAP
    top -= GAP - 4
    steps = max(round(seconds / 8, 1), 0.1)
    for place in range(int(seconds / steps + 1e-6) + 1):
        x = across(place * steps)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{top + 2}" stroke="#888"/>')
        text(x, top + 15, number(place * steps) + " s", 11, "middle")
    text(LEFT + inner / 2, top + 32, "device time", 12, "middle")
    height = top + 44
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def shape(mark, panel, across, top):
    kind, *values = mark
    if kind == "line":
        points, colour, dashed, width = values
        commands, pen = [], "M"
        for time, value in points:
            if value is None:
                pen = "M"
                continue
            commands.append(f"{pen}{across(time):.1f},{top + panel.place(value):.1f}")
            pen = "L"
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        return f'<path d="{"".join(commands)}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'
    if kind == "band":
        points, colour, opacity = values
        there = [f"{across(time):.1f},{top + panel.place(high):.1f}" for time, _, high in points]
        back = [f"{across(time):.1f},{top + panel.place(low):.1f}" for time, low, _ in reversed(points)]
        return f'<polygon points="{" ".join(there + back)}" fill="{colour}" opacity="{opacity}"/>'
    start, end, colour, name = values
    x, width = across(start), across(end) - across(start)
    label = ""
    if width > 7 * len(name):
        label = (f'<text x="{x + width / 2:.1f}" y="{top + panel.height / 2 + 4:.1f}" font-size="12" '
                 f'text-anchor="middle">{html.escape(name)}</text>')
    return f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{panel.height}" fill="{colour}" opacity="0.35"/>' + label
