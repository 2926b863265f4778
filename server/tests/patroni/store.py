"""Three servers that speak etcd's v3 API, as processes: started, killed, paused."""

import contextlib
import json
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


def free_port() -> int:
    """A port below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def post(port: int, path: str, body: dict, timeout: float = 1.0) -> dict:
    """Calls the JSON gateway of one server."""
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


class Member:
    def __init__(self, name: str):
        self.name = name
        self.port, self.peer_port = free_port(), free_port()
        self.process: subprocess.Popen | None = None
        self.paused = False

    def status(self) -> dict | None:
        """What the server says of itself; None where it says nothing."""
        if self.process is None or self.paused:
            return None
        try:
            return post(self.port, "/v3/maintenance/status", {})
        except (OSError, ValueError, urllib.error.URLError):
            return None


class Store:
    """A cluster of three servers of one program that takes etcd's flags."""

    def __init__(self, program: str, directory: Path):
        self.program, self.directory = program, directory
        self.members = [Member(f"s{i}") for i in (1, 2, 3)]

    def endpoints(self) -> str:
        return ", ".join(f"127.0.0.1:{member.port}" for member in self.members)

    def start(self, member: Member) -> None:
        client = f"http://127.0.0.1:{member.port}"
        peer = f"http://127.0.0.1:{member.peer_port}"
        founders = ",".join(f"{m.name}=http://127.0.0.1:{m.peer_port}" for m in self.members)
        flags = {
            "name": member.name,
            "data-dir": self.directory / member.name,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": founders,
        }
        words = [self.program] + [word for k, v in flags.items() for word in (f"--{k}", str(v))]
        with open(self.directory / f"{member.name}.log", "a", encoding="utf-8") as log:
            member.process = subprocess.Popen(words, stdout=log, stderr=log)

    def start_all(self) -> None:
        for member in self.members:
            self.start(member)
        deadline = time.monotonic() + 30
        while self.leader() is None:
            if time.monotonic() > deadline:
                raise RuntimeError("the store has no leader after 30 s")
            time.sleep(0.2)

    def leader(self) -> Member | None:
        """The member that leads in the highest term that any of them knows."""
        found: tuple[int, Member | None] = (-1, None)
        for member in self.members:
            status = member.status()
            if status is None:
                continue
            header = status["header"]
            term = int(header.get("raft_term", 0))
            if status.get("leader") == header["member_id"] and term > found[0]:
                found = (term, member)
        return found[1]

    def kill(self, member: Member) -> None:
        assert member.process is not None
        member.process.kill()
        member.process.wait()
        member.process = None

    def pause(self, member: Member) -> None:
        assert member.process is not None
        member.process.send_signal(signal.SIGSTOP)
        member.paused = True

    def resume(self, member: Member) -> None:
        assert member.process is not None
        member.process.send_signal(signal.SIGCONT)
        member.paused = False

    def ended(self) -> list[str]:
        """Members that ended by themselves."""
        running = [m for m in self.members if m.process is not None]
        return [m.name for m in running if m.process and m.process.poll() is not None]

    def stop(self) -> None:
        for member in self.members:
            if member.process is not None:
                self.kill(member)
