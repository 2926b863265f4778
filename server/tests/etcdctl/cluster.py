"""Servers that take etcd's flags, as processes on free ports, for comparisons."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """A cluster of so many servers of one program, healthy."""

    def __init__(self, program: str, count: int):
        self.directory = Path(tempfile.mkdtemp(prefix="compare-"))
        self.ports = [(free_port(), free_port()) for _ in range(count)]
        self.endpoints = [f"127.0.0.1:{port}" for port, _ in self.ports]
        peers = [f"http://127.0.0.1:{port}" for _, port in self.ports]
        founders = ",".join(f"n{i}={peer}" for i, peer in enumerate(peers))
        self.processes = []
        for i, peer in enumerate(peers):
            flags = {
                "name": f"n{i}",
                "data-dir": self.directory / f"n{i}",
                "listen-client-urls": f"http://{self.endpoints[i]}",
                "advertise-client-urls": f"http://{self.endpoints[i]}",
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": founders,
            }
            words = [program] + [word for k, v in flags.items() for word in (f"--{k}", str(v))]
            with open(self.directory / f"n{i}.log", "w", encoding="utf-8") as log:
                self.processes.append(subprocess.Popen(words, stdout=log, stderr=log))
        self.wait_healthy()

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + 30
        words = ["etcdctl", "--endpoints", ",".join(self.endpoints), "endpoint", "health"]
        while subprocess.run(words, env=environment(), capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError("a cluster is not healthy after 30 s")
            time.sleep(0.2)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.directory)


def environment() -> dict[str, str]:
    return {**os.environ, "ETCDCTL_API": "3"}
