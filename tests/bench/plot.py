"""The picture: what a client waits while one copy stands still."""

import math

from systems import NAMES

WIDTH, LEFT, RIGHT = 860, 64, 20
TOP, PANEL, GAP = 64, 190, 58
COLORS = {"fast-3": "#0b7a4b", "surefoot-3": "#2f9e6c", "surefoot-2": "#7cc6a4", "quorum-3": "#c0392b", "quorum-2": "#e8a49c"}
STYLE = ("text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:15px;font-weight:600}"
         ".small{font-size:11px;fill:#666}.axis{stroke:#999}.grid{stroke:#e6e6e6}"
         ".frozen{fill:#f3efe2}polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}")


class Panel:
    def __init__(self, top, seconds, low, high, logarithmic):
        self.top, self.seconds, self.low, self.high = top, seconds, low, high
        self.logarithmic = logarithmic

    def x(self, second):
        return LEFT + (WIDTH - LEFT - RIGHT) * second / self.seconds

    def y(self, value):
        if self.logarithmic:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.top + PANEL * (1 - min(max(part, 0), 1))

    def frame(self, title, ticks, marks):
        froze, thawed = marks
        lines = [f'<rect class="frozen" x="{self.x(froze):.1f}" y="{self.top}" '
                 f'width="{self.x(thawed) - self.x(froze):.1f}" height="{PANEL}"/>',
                 f'<text x="{LEFT}" y="{self.top - 8}">{title}</text>']
        for value, label in ticks:
            y = self.y(value)
            lines += [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
                      f'<text class="small" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>']
        for second in range(0, int(self.seconds) + 1, 5 if self.seconds > 12 else 1):
            lines.append(f'<text class="small" x="{self.x(second):.1f}" y="{self.top + PANEL + 16}" '
                         f'text-anchor="middle">{second} s</text>')
        lines.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.top + PANEL}" '
                     f'y2="{self.top + PANEL}"/>')
        return lines

    def curve(self, values, bucket_s, color):
        points = " ".join(f"{self.x((i + 0.5) * bucket_s):.1f},{self.y(value):.1f}"
                          for i, value in enumerate(values))
        return f'<polyline stroke="{color}" points="{points}"/>'


def _round_up(value):
    step = 10 ** math.floor(math.log10(max(value, 10)))
    return math.ceil(value / step) * step


def stall(found):
    mirrors = found["mirrors"]
    lines = {name: its["timeline"] for name, its in mirrors.items()}
    bucket_s = next(iter(lines.values()))["bucket_s"]
    seconds = max(len(its["per_s"]) for its in lines.values()) * bucket_s
    marks = next(iter(mirrors.values()))["marks_s"][:2]
    fastest = _round_up(max(max(its["per_s"]) for its in lines.values()))
    slowest = max(max(its["worst_ms"]) for its in lines.values())
    waits = Panel(TOP, seconds, 1, max(10 ** math.ceil(math.log10(slowest)), 1000), True)
    pace = Panel(TOP + PANEL + GAP, seconds, 0, fastest, False)
    height = TOP + 2 * PANEL + GAP + 34
    ticks = [(10 ** n, f"{10 ** n:,} ms" if n < 3 else f"{10 ** (n - 3)} s")
             for n in range(0, int(math.log10(waits.high)) + 1)]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           f'width="{WIDTH}" height="{height}" role="img">',
           f"<title>One of the copies is frozen for {found['frozen_s']} s</title>",
           f"<style>{STYLE}</style>", f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    x = LEFT
    for name in lines:
        out += [f'<line x1="{x}" x2="{x + 18}" y1="20" y2="20" stroke="{COLORS[name]}" stroke-width="3"/>',
                f'<text x="{x + 24}" y="24">{NAMES[name]}</text>']
        x += 195
    out += waits.frame("the longest wait of a write (logarithmic)", ticks, marks)
    out += [waits.curve(its["worst_ms"], bucket_s, COLORS[name]) for name, its in reversed(lines.items())]
    out += pace.frame("writes a second", [(fastest * n / 4, f"{fastest * n / 4:,.0f}") for n in range(5)],
                      marks)
    out += [pace.curve(its["per_s"], bucket_s, COLORS[name]) for name, its in reversed(lines.items())]
    middle = waits.x(sum(marks) / 2)
    out += [f'<text x="{middle:.1f}" y="{TOP + 16}" text-anchor="middle">one copy is frozen</text>', "</svg>"]
    return "\n".join(out) + "\n"
