"""Two PostgreSQL servers, each under a Patroni of its own."""

import json
import os
import pwd
import signal
import string
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psycopg

from store import free_port

HERE = Path(__file__).parent


class Postgres:
    """One server and its Patroni, run by a user who is not root."""

    def __init__(self, name: str, directory: Path, endpoints: str, bin_dir: str, python: str):
        self.name, self.directory, self.python = name, directory, python
        self.port, self.rest_port = free_port(), free_port()
        self.config = directory / f"{name}.yaml"
        self.patroni: subprocess.Popen | None = None
        template = string.Template((HERE / "postgres.yaml").read_text(encoding="utf-8"))
        self.config.write_text(
            template.substitute(
                name=name,
                dir=directory,
                port=self.port,
                rest_port=self.rest_port,
                endpoints=endpoints,
                bin_dir=bin_dir,
            ),
            encoding="utf-8",
        )

    def command(self, words: list[str]) -> subprocess.Popen:
        """Starts a command of Patroni as the user postgres."""
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        identity = user if os.getuid() == 0 else {}
        home = pwd.getpwuid(self.directory.stat().st_uid).pw_dir
        with open(self.directory / f"{self.name}.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                [self.python, "-m", *words],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "HOME": home},
                **identity,
            )

    def start(self) -> None:
        self.patroni = self.command(["patroni", str(self.config)])

    def crash(self) -> None:
        """Kills Patroni first, which would restart its server, and then the server."""
        assert self.patroni is not None
        self.patroni.kill()
        self.patroni.wait()
        self.patroni = None
        pid_file = self.directory / self.name / "postmaster.pid"
        os.kill(int(pid_file.read_text(encoding="utf-8").split()[0]), signal.SIGKILL)

    def stop(self) -> None:
        if self.patroni is not None:
            self.patroni.send_signal(signal.SIGTERM)
            try:
                self.patroni.wait(30)
            except subprocess.TimeoutExpired:
                self.crash()

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=3",
            autocommit=True,
        )

    def role(self) -> str:
        """What PostgreSQL itself says: primary, replica, or down."""
        try:
            with self.connect() as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
                return "replica" if row and row[0] else "primary"
        except psycopg.Error:
            return "down"

    def reported(self) -> dict:
        """What Patroni says: role, state, timeline."""
        try:
            url = f"http://127.0.0.1:{self.rest_port}/patroni"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except (OSError, ValueError):
            return {}

    def is_streaming(self) -> bool:
        """Whether this one is a replica that streams from the primary."""
        reported = self.reported()
        return reported.get("role") == "replica" and reported.get("replication_state") == "streaming"


@dataclass
class Written:
    """What the writer was told, in seconds since it began."""

    acknowledged: int = 0
    errors: int = 0
    longest_s: float = 0.0
    last_error: str = ""


class Writer(threading.Thread):
    """Inserts a row ten times a second at one server, whichever role that has."""

    def __init__(self, server: Postgres):
        super().__init__(daemon=True)
        self.server, self.written, self.ended = server, Written(), threading.Event()

    def run(self) -> None:
        connection: psycopg.Connection | None = None
        last = time.monotonic()
        while not self.ended.is_set():
            try:
                connection = connection or self.server.connect()
                connection.execute("INSERT INTO rows DEFAULT VALUES")
                now = time.monotonic()
                self.written.acknowledged += 1
                self.written.longest_s = max(self.written.longest_s, now - last)
                last = now
            except psycopg.Error as error:
                self.written.errors += 1
                self.written.last_error = str(error).strip().splitlines()[0]
                connection = None
            self.ended.wait(0.1)
