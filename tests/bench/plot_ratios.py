#!/usr/bin/env python3
"""Draw how many times better `s2` is than the official tool: tests/screens/ratios.svg, from tests/bench/ratios.json.

    plot_ratios.py                                      draws what is saved
    S2_PEER=/path/to/s2 plot_ratios.py --measure 3      measures three times with compare.py first, and saves that

A bar for each figure, on a logarithmic axis: right of the line at 1 ours is better.
"""

import argparse
import json
import math
import subprocess
import sys
from html import escape
from pathlib import Path
from statistics import median
from typing import NamedTuple

SAVED = Path(__file__).with_name("ratios.json")
PICTURE = Path(__file__).parents[1] / "screens" / "ratios.svg"
# What is shown, by row and figure of compare.py; the rest is in its table.
SIZES = {16: "16 bytes", 100: "100 bytes", 1000: "1000 bytes", 100_000: "100 kB"}
GROUPS: dict[str, dict[tuple[str, str], str]] = {
    "s2 and its server, beside the official tool and server": {
        **{
            (f"b{size}", f"{what} rate"): f"{what}, {text} a record"
            for what in ("append", "read")
            for size, text in SIZES.items()
        },
        ("c", "JSON p50"): "acknowledge one JSON append",
        ("c", "S2S session p50"): "acknowledge one batch of a session",
        ("e", "line to line p50"): "line to line, through append and read",
        ("a", "version"): "s2 --version",
        ("a", "list basins"): "list basins",
        ("a", "append"): "append one line",
        ("f", "server after 1 GB"): "memory of the server after 1 GB",
    },
    "Requests over 64 connections, our server beside the official one": {
        ("d", "1 streams"): "appends to one stream",
        ("d", "64 streams"): "appends to 64 streams",
        ("h", "1000 streams"): "appends to 1000 new streams",
        ("h", "append that creates"): "each append creates a stream",
        ("h", "POST"): "POST creates a stream",
        ("h", "PUT"): "PUT creates a stream",
    },
    "The official tool, with our server beside its own": {
        # From there on the tool's own threads are the bound.
        (f"o{size}", f"{what}{on}"): f"{what}, {text} a record{on.replace('client ', '')}"
        for what in ("append", "read")
        for size, text in SIZES.items()
        for on in (", client on one core" if size >= 1000 else "",)
    },
    "The official Python SDK, with our server beside the official one": {
        ("p", "append 100"): "append session, 100 bytes a record",
        ("p", "append 100000"): "append session, 100 kB a record",
        ("p", "read 100"): "read session, 100 bytes a record",
        ("p", "read 100000"): "read session, 100 kB a record",
        ("p", "one append p50"): "one append",
        ("p", "tail p50"): "one tail",
    },
}
WIDTH_PX, LABEL_PX, RIGHT_PX, TOP_PX, ROW_PX, BAR_PX, PAD_PX = 860, 300, 56, 64, 20, 12, 16
TICKS = (0.5, 1, 2, 5, 10, 20, 50)
STYLE = """
.back, .plain { fill: #ffffff } .back { stroke: #d0d7de } text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.head { font-weight: 600 } .tick { fill: #59636e; font-size: 12px } line { stroke: #d0d7de } .one { stroke: #59636e }
.better { fill: #1a7f37 } .worse { fill: #bc4c00 }
@media (prefers-color-scheme: dark) { .back, .plain { fill: #0d1117 } .back { stroke: #3d444d }
text { fill: #e6edf3 } .tick { fill: #9198a1 } line { stroke: #3d444d } .one { stroke: #9198a1 }
.better { fill: #3fb950 } .worse { fill: #f0883e } }
"""


class Bar(NamedTuple):
    label: str
    ratio: float


def groups_of(rows: list) -> dict[str, list[Bar]]:
    """The bars of each group. `rows` are lists of row, figure, unit and samples, as compare.py prints them."""
    ratios = {}
    for row, figure, unit, samples in rows:
        if samples.get("ours") and samples.get("peer"):
            ours, peer = median(samples["ours"]), median(samples["peer"])
            ratios[row, figure] = ours / peer if unit.endswith("/s") else peer / ours
    found = {
        head: [Bar(label, ratios[key]) for key, label in labels.items() if key in ratios]
        for head, labels in GROUPS.items()
    }
    return {head: bars for head, bars in found.items() if bars}


def draw(groups: dict[str, list[Bar]]) -> str:
    ratios = [bar.ratio for bars in groups.values() for bar in bars]
    least, most = min([0.8, *ratios]) * 0.9, max([1.25, *ratios]) * 1.1
    right_px = WIDTH_PX - RIGHT_PX
    scale = (right_px - LABEL_PX) / math.log(most / least)
    height_px = TOP_PX + sum(ROW_PX * (len(bars) + 2) for bars in groups.values())

    def x(ratio: float) -> float:
        return LABEL_PX + scale * math.log(ratio / least)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px}" role="img">',
        f"<title>How many times better s2 is than the official tool</title><style>{STYLE}</style>",
        f'<rect class="back" x="0.5" y="0.5" width="{WIDTH_PX - 1}" height="{height_px - 1}" rx="6"/>',
        f'<text x="{PAD_PX}" y="24">Times better than the official tool 0.43.4, each from one run of both</text>',
    ]
    for tick in TICKS:
        if least <= tick <= most:
            kind = "one" if tick == 1 else "other"
            out.append(f'<line class="{kind}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="50" y2="{height_px - 10}"/>')
            out.append(f'<text class="tick" x="{x(tick):.1f}" y="44" text-anchor="middle">{tick}x</text>')
    y = TOP_PX
    for head, bars in groups.items():
        out.append(f'<rect class="plain" x="{PAD_PX}" y="{y}" width="{WIDTH_PX - 2 * PAD_PX}" height="{ROW_PX}"/>')
        out.append(f'<text class="head" x="{PAD_PX}" y="{y + 14}">{escape(head)}</text>')
        y += ROW_PX
        for bar in bars:
            left, right = sorted((x(1), x(bar.ratio)))
            kind, digits = ("better", 1) if bar.ratio >= 1 else ("worse", 2)
            out.append(f'<text x="{PAD_PX + 12}" y="{y + 14}">{escape(bar.label)}</text>')
            out.append(
                f'<rect class="{kind}" x="{left:.1f}" y="{y + 4}" width="{right - left:.1f}" height="{BAR_PX}" rx="2"/>'
            )
            out.append(f'<text class="tick" x="{max(right, x(1)) + 6:.1f}" y="{y + 14}">{bar.ratio:.{digits}f}x</text>')
            y += ROW_PX
        y += ROW_PX
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=int, metavar="RUNS", help="measure that often first, and save it")
    args = parser.parse_args()
    if args.measure:
        rows = ",".join(sorted({row for labels in GROUPS.values() for row, _ in labels}))
        command = [Path(__file__).with_name("compare.py"), "--json", "--runs", str(args.measure), "--rows", rows]
        got = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True, text=True).stdout
        if not groups_of(json.loads(got)):
            sys.exit("there is no figure of both: S2_PEER is to name the official tool")
        SAVED.write_text(got)
    PICTURE.write_text(draw(groups_of(json.loads(SAVED.read_text()))))


if __name__ == "__main__":
    main()
