#!/usr/bin/env python3
"""One fail-over of lin-kv as a picture: the leader is killed, the others elect.

Runs `seaworthy test` (simulated, so every run draws the same picture), reads the
messages it leaves behind and writes failover.svg beside this file. Needs nothing but
Python.

    cargo build --release && docs/plots/failover.py
"""

import json
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SEAWORTHY = HERE.parent.parent / "target" / "release" / "seaworthy"
FLAGS = """-w lin-kv --node-count 3 --concurrency 2n --rate 50 --time-limit 8 --latency 10
--nemesis kill --nemesis-interval 2.5 --seed 25"""
LANES = ["n0", "n1", "n2"]
BEFORE_MS, AFTER_MS = 60, 60


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run():
    """The messages of one run and its history."""
    with tempfile.TemporaryDirectory() as store:
        command = [SEAWORTHY, "test", *FLAGS.split(), "--store", store]
        subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
        path = next(pathlib.Path(store).glob("lin-kv/2*"))
        return lines(path / "messages.jsonl"), lines(path / "history.jsonl")


def raft(message):
    """The core's messages in a parcel: (term, kind, contents)."""
    for term, say in message["body"].get("m", []):
        kind, contents = next(iter(say.items())) if isinstance(say, dict) else (say, None)
        yield term, kind, contents


def find(messages, history):
    """The moments of the fail-over, in milliseconds: name, node, time."""
    kill = next(op for op in history if op["f"] == "kill" and "killed" in json.dumps(op["value"]))
    victim = next(iter(kill["value"])).strip('"')
    start = kill["time"]
    sent = [m for m in messages if m["event"] == "send" and m["time"] > start]
    own = [(m, *part) for m in sent if m["src"] in LANES for part in raft(m)]
    first = lambda test: next(entry[0] for entry in own if test(entry))
    earlier = [m for m in messages if m["event"] == "send" and m["time"] <= start]
    old = max(term for m in earlier if m["src"] in LANES for term, _, _ in raft(m))
    elected = first(lambda e: e[2] == "a" and e[1] > old)
    leader = elected["src"]
    term = next(e[1] for e in own if e[0] is elected)
    stands = lambda e, pre: e[2] == "v" and e[0]["src"] == leader and e[3][0] == pre
    timeout = first(lambda e: stands(e, True))
    candidacy = first(lambda e: stands(e, False) and e[1] == term)
    # The first answer that a majority holds an entry of the new term.
    base = next(e[3][0][1] for e in own if e[0] is elected)
    committed = next(
        m for m in messages
        if m["event"] == "recv" and m["dest"] == leader and m["time"] > elected["time"]
        and any(k == "A" and c[1] > base for _, k, c in raft(m))
    )
    answered = next(
        m for m in sent
        if m["src"] in LANES and m["dest"].startswith("c") and m["time"] >= committed["time"]
        and m["body"]["type"].endswith("_ok")
    )
    ms = lambda event: event["time"] / 1e6
    return victim, [
        ("killed", victim, start / 1e6),
        ("times out: pre-vote", leader, ms(timeout)),
        ("could win: vote", leader, ms(candidacy)),
        ("elected: first append", leader, ms(elected)),
        ("first commit", leader, committed["time"] / 1e6),
        ("first client answered", answered["src"], ms(answered)),
    ]


COLOURS = {"v": "#c60", "V": "#c60", "a": "#06c", "A": "#06c", "R": "#06c"}


def svg(messages, victim, moments):
    """Time goes down; a line for each node, an arrow for each message."""
    start, end = moments[0][2] - BEFORE_MS, moments[-1][2] + AFTER_MS
    # Nothing but silence between the kill and the first timeout: it is cut short.
    silence = (moments[0][2] + 40, moments[1][2] - 40)
    gap = max(0, silence[1] - silence[0] - 20)
    squeeze = lambda ms: ms - gap if ms > silence[1] else min(ms, silence[0] + 20)
    scale, top, width = 3.2, 50, 760
    x = {name: 180 + 160 * i for i, name in enumerate(LANES)}
    y = lambda ms: top + (squeeze(ms) - squeeze(start)) * scale
    height = y(end) + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height:.0f}" fill="white"/>',
    ]
    for name, at in x.items():
        last = moments[0][2] if name == victim else end
        out.append(f'<text x="{at}" y="30" text-anchor="middle">{name}</text>')
        out.append(f'<line x1="{at}" y1="{top}" x2="{at}" y2="{y(last):.1f}" stroke="#999"/>')
    cut = y((silence[0] + silence[1]) / 2)
    out.append(f'<text x="{width - 250}" y="{cut:.1f}" fill="#999">({gap:.0f} ms of silence)</text>')
    sent = {}
    for message in messages:
        if message["event"] == "send":
            sent[message["id"]] = message["time"] / 1e6
            continue
        src, dest = message["src"], message["dest"]
        began, came = sent[message["id"]], message["time"] / 1e6
        if src not in x or dest not in x or began < start or came > end:
            continue
        kinds = [kind for _, kind, _ in raft(message)]
        colour = next((COLOURS[k] for k in kinds if k in COLOURS), "#aaa")
        out.append(
            f'<line x1="{x[src]}" y1="{y(began):.1f}" x2="{x[dest]}" y2="{y(came):.1f}" '
            f'stroke="{colour}"/><circle cx="{x[dest]}" cy="{y(came):.1f}" r="2" fill="{colour}"/>'
        )
    for name, node, ms in moments:
        since = ms - moments[0][2]
        out.append(f'<circle cx="{x[node]}" cy="{y(ms):.1f}" r="5" fill="#b00"/>')
        out.append(f'<line x1="{x[node]}" y1="{y(ms):.1f}" x2="{x["n2"] + 30}" y2="{y(ms):.1f}" '
                   f'stroke="#b00" stroke-dasharray="2 3"/>')
        out.append(f'<text x="{x["n2"] + 36}" y="{y(ms) + 4:.1f}" fill="#b00">'
                   f'{since:.0f} ms: {node} {name}</text>')
    legend = [("elections", "#c60"), ("appends and answers", "#06c"), ("forwarded", "#aaa")]
    for i, (text, colour) in enumerate(legend):
        out.append(f'<text x="10" y="{70 + 18 * i}" fill="{colour}">{text}</text>')
    return "\n".join([*out, "</svg>\n"])


if __name__ == "__main__":
    all_messages, all_history = run()
    dead, found = find(all_messages, all_history)
    for event, where, when in found:
        print(f"{when - found[0][2]:7.1f} ms  {where} {event}")
    (HERE / "failover.svg").write_text(svg(all_messages, dead, found))
