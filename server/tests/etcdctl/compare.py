#!/usr/bin/env python3
"""Compares what etcdctl gets from etcd and from this server, call by call.

    python3 compare.py --server target/release/seaworthy-server

calls.txt goes to one server of each, and to one of three of ours; members.txt to three of each.
Output and status must be the same, but for ids, hashes, sizes, versions, and terms and places of
logs. Not among the calls: `check` measures for a minute, `migrate`, `snapshot status` and
`snapshot restore` read files of etcd, and `completion` asks no server. The exit status is 0 if all
answers are the same, and 1 if not.
"""

import argparse
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster import Cluster, environment, free_port

HERE = Path(__file__).parent
LIMIT_S = 20
JSON = (
    "cluster_id|member_id|ID|leader|lease|raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|"
    "dbSizeInUse|hash|version|took|ttl|id"
)
FIELDS = (
    "ClusterID|MemberID|ID|Leader|Lease|RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|"
    "Hash|Version|LeaseID"
)
# What may differ, and by what it is replaced.
MASKS = [
    (rf'"({JSON})":("[^"]*"|[0-9a-f.]+)', r'"\1":_'),
    (rf'"({FIELDS})" : ("[^"]*"|[0-9a-f.]+)', r'"\1" : _'),
    (r"took = \S+", "took = _"),
    (r"remaining\(-?\d+s\)", "remaining(_)"),
    (r"127\.0\.0\.1:\d{4,5}", "ADDRESS"),
    (r"\b[0-9a-f]{15,16}\b", "ID"),
    (r"\b3\.[45]\.\d+\b", "VERSION"),
    (r"\b\d+(\.\d+)? [kM]?B\b", "SIZE"),
    (r"((true|false)[ ,|]+)\d+([ ,|]+)\d+([ ,|]+)\d+", r"\1_\3_\4_"),
    (r"(E\d?[ ,|]+)\d{5,10}\b", r"\1HASH"),
    (r"0x[0-9a-f]+", "0x_"),
    # Tables are as wide as what they hold.
    (r"-{3,}", "---"),
    (r" {2,}", " "),
]
# Calls that list members and leases by their ids, or endpoints as they answer.
UNORDERED = ("--cluster", "member list", "endpoint health", "lease list", "ETCD_INITIAL")


class Session:
    def __init__(self, cluster: Cluster, endpoints: str):
        self.cluster, self.endpoints, self.background = cluster, endpoints, {}
        self.names = {"E": cluster.endpoints[0], "DIR": str(cluster.directory)}
        self.names["P9"] = f"http://127.0.0.1:{free_port()}"
        if len(cluster.ports) > 1:
            for i, (port, peer) in enumerate(cluster.ports):
                self.names[f"E{i}"] = f"127.0.0.1:{port}"
                self.names[f"P{i}"] = f"http://127.0.0.1:{peer}"

    def popen(self, call: str) -> tuple[subprocess.Popen, bytes]:
        call, _, given = call.partition(" < ")
        for name in sorted(self.names, reverse=True):
            call = call.replace(f"${name}", self.names[name])
        words = shlex.split(call)
        if not any(word.startswith("--endpoints") for word in words):
            words = ["--endpoints", self.endpoints, *words]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            ["etcdctl", *words], env=environment(), stdin=pipe, stdout=pipe, stderr=pipe
        )
        return process, given.replace("\\n", "\n").encode()

    def call(self, call: str) -> tuple[int | None, str, str]:
        process, given = self.popen(call)
        try:
            out, err = process.communicate(given, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return None, "", "does not end"
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def answer(self, call: str, result: tuple[int | None, str, str]) -> str:
        status, out, err = result
        # Lines that the client logs of itself have times and addresses.
        told = [f"! {line}" for line in err.splitlines() if not line.startswith("{")]
        lines = self.mask(out + "\n".join(told)).splitlines()
        if any(words in call or words in out for words in UNORDERED):
            lines = sorted(re.findall(r'[^\s,{}\[\]"=]+', "\n".join(lines)))
        return f"{status} " + "\n".join(lines)

    def mask(self, text: str) -> str:
        for name, value in sorted(self.names.items(), key=lambda item: (-len(item[1]), item[0])):
            text = text.replace(value, f"${name}")
        for pattern, by in MASKS:
            text = re.sub(pattern, by, text)
        return text

    def step(self, line: str) -> str:
        word, _, rest = line.partition(" ")
        name, _, call = rest.partition(" ")
        if name == ":=":
            result = self.call(call)
            found = re.search(r"\b[0-9a-f]{12,16}\b", result[1])
            self.names[word] = found[0] if found else "none"
            return self.answer(call, result)
        if word == "names":
            for row in self.call(call)[1].splitlines():
                identity, _, member = row.split(", ")[:3]
                self.names[f"{name}{member[1:]}"] = identity
            return ""
        if word == "quietly":
            self.call(rest)
            return ""
        if word == "sleep":
            time.sleep(int(rest))
            return ""
        if word == "start":
            return self.start(name, call)
        if word == "read":
            return self.read(name, int(call))
        if word == "stop":
            return self.stop(name)
        if word == "until":
            return self.until(int(name), call)
        return self.answer(line, self.call(line))

    def start(self, name: str, call: str) -> str:
        process, given = self.popen(call)
        process.stdin.write(given)
        process.stdin.flush()
        lines: list[str] = []

        def pump() -> None:
            for line in process.stdout:
                lines.append(line.decode(errors="replace"))

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        self.background[name] = (process, lines, thread)
        return ""

    def read(self, name: str, count: int) -> str:
        _, lines, _ = self.background[name]
        end = time.monotonic() + LIMIT_S
        while len(lines) < count and time.monotonic() < end:
            time.sleep(0.02)
        return self.mask("".join(lines[:count]))

    def stop(self, name: str) -> str:
        process, lines, thread = self.background.pop(name)
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = None
        thread.join(LIMIT_S)
        return self.answer("", (status, "".join(lines), process.stderr.read().decode()))

    def until(self, count: int, call: str) -> str:
        end = time.monotonic() + LIMIT_S
        while True:
            result = self.call(call)
            lines = [line for line in result[1].splitlines() if line]
            if len(lines) == count or time.monotonic() > end:
                return self.answer(call, result)
            time.sleep(0.05)

    def close(self) -> None:
        for process, _, _ in self.background.values():
            process.kill()
        self.cluster.stop()


def compare(script: str, sessions: list[tuple[str, Session]]) -> int:
    """How many calls have another answer than the first session's."""
    lines = (HERE / script).read_text(encoding="utf-8").splitlines()
    calls = [line for line in lines if line and not line.startswith("#")]
    different = 0
    try:
        with ThreadPoolExecutor(len(sessions)) as pool:
            for call in calls:
                answers = list(pool.map(lambda named: named[1].step(call), sessions))
                for (name, _), answer in list(zip(sessions, answers))[1:]:
                    if answer != answers[0]:
                        different += 1
                        print(f"{call}\n  etcd: {answers[0]!r}\n  {name}: {answer!r}", flush=True)
    finally:
        for _, session in sessions:
            session.close()
    print(f"{script}: {len(calls)} calls, {different} answers differ", flush=True)
    return different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the program of ours")
    parser.add_argument("--etcd", default="etcd")
    options = parser.parse_args()
    # One endpoint: a serializable read at another server might not see the write before it.
    kinds = [("etcd", options.etcd, 1), ("one", options.server, 1), ("three", options.server, 3)]
    clusters = [(name, Cluster(program, count)) for name, program, count in kinds]
    different = compare("calls.txt", [(n, Session(c, c.endpoints[0])) for n, c in clusters])
    kinds = [("etcd", options.etcd, 3), ("ours", options.server, 3)]
    clusters = [(name, Cluster(program, count)) for name, program, count in kinds]
    sessions = [(n, Session(c, ",".join(c.endpoints))) for n, c in clusters]
    return 1 if different + compare("members.txt", sessions) else 0


if __name__ == "__main__":
    sys.exit(main())
