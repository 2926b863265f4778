#!/usr/bin/env python3
"""Patroni with two PostgreSQL servers on a store of three servers, in bad weather.

    python3 run.py --store seaworthy-server --minutes 10
    python3 run.py --store etcd --minutes 10

Bootstrap, switchover and fail-over first. Then, every 20 s, one server of the store is killed
(SIGKILL; started again after 5 s) or paused (SIGSTOP, 3 to 7 s); every other time it is the leader.
PostgreSQL's primary must not change meanwhile, and no row may be lost.

This needs Patroni and psycopg in the interpreter that runs it ("patroni[etcd3,psycopg3]" of PyPI),
PostgreSQL, and, if root runs it, an interpreter that the user postgres may execute.
The exit status is 0 if all went well, 1 if the primary changed, and 2 if it never came to that.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from servers import Postgres, Writer
from store import Store

LIMIT_S = 120


class Run:
    def __init__(self, options: argparse.Namespace, directory: Path):
        self.options, self.random = options, random.Random(options.seed)
        self.start = time.monotonic()
        (directory / "store").mkdir()
        self.store = Store(options.store, directory / "store")
        endpoints = self.store.endpoints()
        self.servers = [
            Postgres(name, directory, endpoints, options.pg_bin, options.python)
            for name in ("pg1", "pg2")
        ]

    def say(self, text: str) -> None:
        load = os.getloadavg()[0]
        print(f"{time.monotonic() - self.start:7.1f} s  load {load:4.1f}  {text}", flush=True)

    def wait(self, what: str, condition) -> float:
        """Waits until something holds; how long that took."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > LIMIT_S:
                raise RuntimeError(f"{what}: not within {LIMIT_S} s")
            time.sleep(0.1)
        return time.monotonic() - begun

    def roles(self) -> dict[str, str]:
        return {server.name: server.role() for server in self.servers}

    def primary(self) -> Postgres:
        found = [server for server in self.servers if server.role() == "primary"]
        if len(found) != 1:
            raise RuntimeError(f"one primary was expected: {self.roles()}")
        return found[0]

    def other(self, server: Postgres) -> Postgres:
        return next(s for s in self.servers if s is not server)

    def bootstrap(self) -> None:
        self.store.start_all()
        self.say(f"the store has a leader; its program says {self.version()}")
        for server in self.servers:
            server.start()
        took = self.wait("a primary", lambda: "primary" in self.roles().values())
        self.say(f"bootstrap: {self.primary().name} is primary after {took:.1f} s")
        took = self.wait("a replica", self.other(self.primary()).is_streaming)
        self.say(f"bootstrap: {self.other(self.primary()).name} streams after {took:.1f} s more")
        with self.primary().connect() as connection:
            connection.execute("CREATE TABLE rows (id bigserial PRIMARY KEY)")

    def version(self) -> str:
        words = subprocess.run([self.options.store, "--version"], capture_output=True, check=True)
        return words.stdout.decode().splitlines()[0]

    def switch_over(self) -> None:
        old = self.primary()
        new = self.other(old)
        code = "from patroni.ctl import ctl; ctl()"
        words = [self.options.python, "-c", code, "-c", str(old.config), "switchover", "ship"]
        words += ["--leader", old.name, "--candidate", new.name, "--force"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"patronictl switchover: {done.stdout}{done.stderr}")
        took = self.wait("the switchover", lambda: new.role() == "primary")
        self.say(f"switchover: {old.name} to {new.name}, primary {took:.1f} s after patronictl ended")
        took = self.wait("a replica", old.is_streaming)
        self.say(f"switchover: {old.name} streams after {took:.1f} s more")

    def fail_over(self) -> None:
        old = self.primary()
        new = self.other(old)
        old.crash()
        took = self.wait("the fail-over", lambda: new.role() == "primary")
        self.say(f"fail-over: {old.name} and its Patroni killed, {new.name} primary after {took:.1f} s")
        old.start()
        took = self.wait("a replica", old.is_streaming)
        self.say(f"fail-over: {old.name} started again, streams after {took:.1f} s")

    def break_store(self, number: int):
        """Begins a fault; how to end it, and when."""
        leader = self.store.leader()
        if leader is None:
            self.say("the store has no leader before the fault")
        at_leader = leader is not None and number % 2 == 0
        others = [member for member in self.store.members if member is not leader]
        victim = leader if at_leader and leader else self.random.choice(others)
        who = f"{victim.name}, {'the leader' if victim is leader else 'a follower'}"
        if number // 2 % 2 == 0:
            self.store.kill(victim)
            self.say(f"fault {number + 1}: {who}, is killed, and started 5 s later")
            return lambda: self.store.start(victim), 5.0
        seconds = self.random.uniform(3, 7)
        self.store.pause(victim)
        self.say(f"fault {number + 1}: {who}, is paused for {seconds:.1f} s")
        return lambda: self.store.resume(victim), seconds

    def watch_until(self, end: float, wanted: dict[str, str]) -> list[str]:
        """Looks at the roles twice a second; every sight of another one."""
        wrong = []
        while time.monotonic() < end:
            roles = self.roles()
            if roles != wanted:
                wrong.append(f"roles are {roles}")
                self.say(wrong[-1])
            if ended := self.store.ended():
                wrong.append(f"ended by themselves: {ended}")
                self.say(wrong[-1])
            time.sleep(max(0.0, min(0.5, end - time.monotonic())))
        return wrong

    def weather(self) -> list[str]:
        """The faults; all that was seen of another primary."""
        primary = self.primary()
        wanted, timeline = self.roles(), primary.reported().get("timeline")
        writer = Writer(primary)
        writer.start()
        wrong = []
        for number in range(int(self.options.minutes * 60 / self.options.every)):
            begun = time.monotonic()
            mend, seconds = self.break_store(number)
            wrong += self.watch_until(begun + seconds, wanted)
            mend()
            wrong += self.watch_until(begun + self.options.every, wanted)
        writer.ended.set()
        writer.join()
        wrong += self.watch_until(time.monotonic() + 30, wanted)
        after = primary.reported().get("timeline")
        if after != timeline:
            wrong.append(f"the timeline was {timeline} and is {after}")
        return wrong + self.count(primary, writer)

    def count(self, primary: Postgres, writer: Writer) -> list[str]:
        written = writer.written
        self.say(
            f"{written.acknowledged} rows acknowledged, {written.errors} errors "
            f"{written.last_error!r}, longest time between two {written.longest_s:.2f} s"
        )
        counts = []
        for server in (primary, self.other(primary)):
            with server.connect() as connection:
                row = connection.execute("SELECT count(*) FROM rows").fetchone()
                counts.append(row[0] if row else 0)
        self.say(f"rows at the primary and at the replica: {counts}")
        lost = [f"lost rows: {counts}"] if min(counts) < written.acknowledged else []
        return lost + ([f"{written.errors} errors of the writer"] if written.errors else [])

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
        self.store.stop()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, help="the program: seaworthy-server or etcd")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=20, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pg-bin", default="/usr/lib/postgresql/15/bin")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--keep", action="store_true", help="keeps the directory, with all logs")
    return parser.parse_args()


def main() -> int:
    options = parse()
    directory = Path(tempfile.mkdtemp(prefix="patroni-"))
    directory.chmod(0o755)
    if os.getuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    run = Run(options, directory)
    try:
        run.bootstrap()
        run.switch_over()
        run.fail_over()
        wrong = run.weather()
        run.say(f"the primary changed, or worse: {wrong}" if wrong else "the primary never changed")
        return 1 if wrong else 0
    except (RuntimeError, OSError, psycopg.Error) as error:
        run.say(f"not judged: {error}")
        return 2
    finally:
        run.stop()
        if options.keep:
            print(f"logs are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
