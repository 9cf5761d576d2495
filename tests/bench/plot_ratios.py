#!/usr/bin/env python3
"""Draw how many times better `s2` is than the official tool, from a run of compare.py with S2_PEER.

    S2_PEER=/path/to/s2 compare.py --runs 3 --json > ratios.json
    plot_ratios.py < ratios.json > ratios.svg

A bar for each figure, on a logarithmic axis that begins at the worst of them: right of the line at 1 ours is better.
"""

import json
import math
import sys
from html import escape
from statistics import median

ROW_PX, WIDTH_PX, LABEL_PX, RIGHT_PX, TOP_PX = 22, 860, 330, 60, 44
TICKS = (0.5, 1, 2, 5, 10, 20, 50)
# Beside these, CPU and memory of clients, and what one bulk load does to another, are in the table.
ROWS = {
    "a": "start",
    "b16": "16 bytes",
    "b100": "100 bytes",
    "b1000": "1000 bytes",
    "b100000": "100 kB",
    "c": "one append",
    "d": "64 connections",
    "e": "",
    "f": "memory",
    "h": "64 connections, new streams",
}
LEFT_OUT = ("client CPU", "server CPU", "client peak", "server peak", "bytes", "server idle")
STYLE = """
text { font: 13px sans-serif; fill: #24292f } .tick { fill: #57606a; font-size: 11px }
line { stroke: #d0d7de } .one { stroke: #57606a } .better { fill: #1a7f37 } .worse { fill: #bc4c00 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .tick { fill: #9198a1 } line { stroke: #3d444d }
.one { stroke: #9198a1 } .better { fill: #3fb950 } .worse { fill: #db6d28 } }
"""


def ratios(rows: list) -> list[tuple[str, float]]:
    found = []
    for row, figure, unit, samples in rows:
        if row not in ROWS or "peer" not in samples or figure.startswith(LEFT_OUT):
            continue
        ours, peer = median(samples["ours"]), median(samples["peer"])
        label = ", ".join(part for part in (ROWS[row], figure) if part)
        found.append((label, ours / peer if unit.endswith("/s") else peer / ours))
    return found


def draw(bars: list[tuple[str, float]]) -> str:
    least = min(1.0, *(ratio for _, ratio in bars)) * 0.8
    most = max(ratio for _, ratio in bars) * 1.1
    scale = (WIDTH_PX - LABEL_PX - RIGHT_PX) / math.log(most / least)
    height_px = TOP_PX + ROW_PX * len(bars) + 10

    def x(ratio: float) -> float:
        return LABEL_PX + scale * math.log(ratio / least)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px}" role="img">',
        f"<title>How many times better s2 is than the official tool</title><style>{STYLE}</style>",
        '<text x="0" y="16">s2 beside the official tool: times better</text>',
    ]
    for tick in TICKS:
        if least <= tick <= most:
            kind = "one" if tick == 1 else "other"
            out.append(f'<line class="{kind}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="36" y2="{height_px - 6}"/>')
            out.append(f'<text class="tick" x="{x(tick):.1f}" y="32" text-anchor="middle">{tick}</text>')
    for number, (label, ratio) in enumerate(bars):
        y = TOP_PX + ROW_PX * number
        left, right = sorted((x(1), x(ratio)))
        kind = "better" if ratio >= 1 else "worse"
        out.append(f'<text x="{LABEL_PX - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        out.append(f'<rect class="{kind}" x="{left:.1f}" y="{y + 2}" width="{right - left:.1f}" height="14" rx="2"/>')
        out.append(f'<text class="tick" x="{max(right, x(1)) + 6:.1f}" y="{y + 13}">{ratio:.1f}</text>')
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    bars = ratios(json.load(sys.stdin))
    if not bars:
        sys.exit("there is no figure of both: run compare.py with S2_PEER and --json")
    sys.stdout.write(draw(bars))


if __name__ == "__main__":
    main()
