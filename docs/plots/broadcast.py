#!/usr/bin/env python3
"""Latency against messages per operation, for several latency budgets and sizes.

Runs `seaworthy test` (simulated) and writes broadcast.svg and broadcast.md beside
this file. Needs nothing but Python; takes some seconds.

    cargo build --release && docs/plots/broadcast.py
"""

import json
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SEAWORTHY = HERE.parent.parent / "target" / "release" / "seaworthy"
BUDGETS = [350, 450, 550, 650, 800, 1000, 1300, 1600, 2000, 3000]
SIZES = [5, 25, 50, 200]
# Messages per operation, median and maximum of the stable latency in ms.
PUBLISHED = [(8.3, 230, 397), (1.92, 764, 1087)]


def measure(nodes, budget=None, dist="constant", overlay="hub"):
    """One run of Maelstrom's 3d; messages per operation, median, maximum."""
    with tempfile.TemporaryDirectory() as store:
        command = [SEAWORTHY, "test", "-w", "broadcast", "--seed", "1", "--store", store]
        command += ["--node-count", nodes, "--rate", 100, "--time-limit", 20]
        command += ["--latency", 100, "--latency-dist", dist, "--", "broadcast"]
        command += ["--overlay", overlay]
        command += ["--latency-budget", budget] if budget else []
        subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
        path = next(p for p in pathlib.Path(store).glob("broadcast/2*/results.json"))
        results = json.loads(path.read_text())
    latencies = results["workload"]["stable-latencies"]
    per_op = results["net"]["servers"]["msgs-per-op"]
    return per_op, latencies["0.5"], latencies["1"]


def table(rows, head):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def svg(curve):
    """Median (line) and maximum (dashes) over messages per operation."""
    width, height, left, bottom = 640, 400, 60, 50
    top_ms, right_per_op = 2400, 9.0
    x = lambda per_op: left + per_op / right_per_op * (width - left - 20)
    y = lambda ms: height - bottom - ms / top_ms * (height - bottom - 20)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
           ' font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for ms in range(0, top_ms + 1, 400):
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(ms)}" y2="{y(ms)}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(ms) + 4}" text-anchor="end">{ms}</text>')
    for per_op in range(0, 10):
        out.append(f'<text x="{x(per_op)}" y="{height - bottom + 18}" text-anchor="middle">{per_op}</text>')
    out.append(f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">server messages per operation</text>')
    out.append(f'<text x="{left}" y="14">stable latency, ms: median (solid) and maximum (dashed); 25 nodes, 100 ms a hop</text>')
    for column, dash in ((1, ""), (2, ' stroke-dasharray="5 4"')):
        points = " ".join(f"{x(p[0]):.1f},{y(p[column]):.1f}" for p in curve)
        out.append(f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="2"{dash}/>')
        out += [f'<circle cx="{x(p[0]):.1f}" cy="{y(p[column]):.1f}" r="3" fill="#06c"/>' for p in curve]
        out += [f'<circle cx="{x(p[0]):.1f}" cy="{y(p[column]):.1f}" r="4" fill="none" stroke="#c30" stroke-width="2"/>'
                for p in PUBLISHED]
    out.append(f'<text x="{x(8.3)}" y="{y(397) - 10}" text-anchor="middle" fill="#c30">best published</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    curve = [(budget, *measure(25, budget)) for budget in BUDGETS]
    text = "# Broadcast: what it costs and how fast it is\n\nMade by `docs/plots/broadcast.py`: simulated, "
    text += "100 operations a second for 20 s (half of them reads), 100 ms a hop, seed 1.\n"
    text += "Messages are counted as Maelstrom does: all between servers, the 10 s after the operations included.\n\n"
    text += "![latency against messages](broadcast.svg)\n\n## Latency budgets, 25 nodes\n\n"
    head = ["budget, ms", "messages/op", "median, ms", "maximum, ms"]
    text += table([(b, f"{m:.2f}", p50, p100) for b, m, p50, p100 in curve], head)
    text += table([("best published", m, p50, p100) for m, p50, p100 in PUBLISHED], head).split("\n", 2)[2]
    text += "\n## Number of nodes, default budget\n\n"
    rows = []
    for nodes in SIZES:
        for dist in ("constant", "exponential"):
            m, p50, p100 = measure(nodes, dist=dist)
            rows.append((nodes, dist, f"{m:.2f}", f"{m / (nodes - 1):.3f}", p50, p100))
    head = ["nodes", "latency", "messages/op", "messages/op/(n-1)", "median, ms", "maximum, ms"]
    text += table(rows, head) + "\n## Overlays, 25 nodes, default budget\n\n"
    rows = []
    for overlay in ("hub", "tree", "topology", "flood"):
        m, p50, p100 = measure(25, overlay=overlay)
        rows.append((overlay, f"{m:.2f}", p50, p100))
    text += table(rows, ["overlay", "messages/op", "median, ms", "maximum, ms"])
    (HERE / "broadcast.md").write_text(text)
    (HERE / "broadcast.svg").write_text(svg([row[1:] for row in curve]))


if __name__ == "__main__":
    main()
