#!/usr/bin/env python3
"""Compares what programs that use etcd's clients print with etcd and with this server.

    python3 compare.py --server target/release/seaworthy-server --clients target/clients

Each client has a script, which prints the same for every server that speaks etcd's API. It runs on
etcd, on one server of ours, and on three. docs/server.md tells how to install the clients; one that
is not there is skipped, with a line. The exit status is 0 if nothing differs, and 1 if not.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "etcdctl"))

from cluster import Cluster  # noqa: E402


def output(words: list[str], environment: dict[str, str], program: str, count: int) -> list[str]:
    """What a script prints with a new cluster, and its status."""
    cluster = Cluster(program, count)
    try:
        port = str(cluster.ports[-1][0])
        done = subprocess.run(
            [*words, port], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return [*done.stdout.splitlines(), f"status {done.returncode} {done.stderr}"]
    finally:
        cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the program of ours")
    parser.add_argument("--etcd", default="etcd")
    parser.add_argument("--clients", default="target/clients", help="where the clients are")
    options = parser.parse_args()
    installed = Path(options.clients).absolute()
    environment = {**os.environ, "NODE_PATH": str(installed / "node_modules")}
    python = str(installed / "bin/python3")
    clients = [
        ("etcd3gw", [python, "-c", "import etcd3gw"], [python, str(HERE / "etcd3gw_script.py")]),
        ("aetcd", [python, "-c", "import aetcd"], [python, str(HERE / "aetcd_script.py")]),
        ("etcd3", ["node", "-e", "require('etcd3')"], ["node", str(HERE / "etcd3_script.js")]),
    ]
    different = 0
    for name, probe, words in clients:
        try:
            found = subprocess.run(probe, env=environment, capture_output=True, check=False)
            is_there = found.returncode == 0
        except OSError:
            is_there = False
        if not is_there:
            print(f"skipped: {name} is not installed")
            continue
        wanted = output(words, environment, options.etcd, 1)
        for count in (1, 3):
            lines = output(words, environment, options.server, count)
            pairs = [pair for pair in zip(wanted, lines) if pair[0] != pair[1]]
            is_same = lines == wanted and wanted[-1].startswith("status 0")
            different += not is_same
            print(f"{name}, {count} of ours: {len(wanted) - 1} lines, {len(pairs)} differ", flush=True)
            for etcd, ours in pairs:
                print(f"  etcd: {etcd}\n  ours: {ours}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
