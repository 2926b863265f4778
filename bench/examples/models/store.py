"""Small models of stores that lose things, each in a way that is named with --loses.

n0 is the leader. It keeps a log of all writes and replays it at its start; the others pass requests
on, or keep copies. GET /v1/KEY and PUT /v1/KEY with ETag and If-Match, as in ../lossy.

nothing     every write is on the disk before it is acknowledged, and all reads are the leader's
fsync       the log is written once a second
empty       a replayed write of an empty value repeats the value before it
blank       a replayed key ends at its first blank
long        the replay stops, silently, at a line of more than 64 KiB
json        a value that is not JSON is acknowledged, and not stored
stale       followers answer reads from copies that are up to half a second old
snapshot    a follower that starts gets an empty copy, and every later write
not-leader  a follower answers a write with status 200 and "not the leader"
split       a follower that does not reach the leader leads itself
dial        the leader knows the followers that it reached at its start, and no others
"""

import argparse
import http.client
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

parser = argparse.ArgumentParser()
parser.add_argument("--name", required=True)
parser.add_argument("--file", required=True)
parser.add_argument("--ports", required=True, help="for clients and for peers: 10001,10002")
parser.add_argument("--cluster", required=True, help="n0=127.0.0.1:10003,...")
parser.add_argument("--loses", default="nothing")
options = parser.parse_args()
loses = options.loses
peers = dict(member.split("=") for member in options.cluster.split(","))
leader = next(iter(peers))
has_copies = loses in ("stale", "snapshot", "split") and options.name != leader

values = {}  # path -> [version, text]
unwritten = []
lock = threading.Lock()


def replay():
    before = ""
    for line in open(options.file, encoding="latin-1", newline="\n"):
        path, text = line.rstrip("\n").split("\x1f")
        if loses == "long" and len(line) > 64 << 10:
            return
        if loses == "blank":
            path = path.split()[0]
        if loses == "empty" and not text:
            text = before
        before = text
        values[path] = [values.get(path, [0])[0] + 1, text]


def write_log():
    with open(options.file, "a", encoding="latin-1", newline="\n") as file:
        file.write("".join(f"{path}\x1f{text}\n" for path, text in unwritten))
    unwritten.clear()


def now_and_then():
    while True:
        time.sleep(0.5 if loses == "stale" else 1)
        with lock:
            if options.name == leader and unwritten:
                write_log()
        if has_copies and loses != "snapshot":
            body = ask(leader, "GET", "/all")[1]
            values.update(json.loads(body if body.startswith("{") else "{}"))


def ask(name, method, path, text="", headers={}):
    try:
        peer = http.client.HTTPConnection(peers[name], timeout=2)
        peer.request(method, path, text.encode("latin-1"), {"from": options.name, **headers})
        answer = peer.getresponse()
        return answer.status, answer.read().decode("latin-1"), answer.headers.get("etag")
    except OSError:
        return 503, "the leader does not answer", None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/all":
            return self.answer(200, json.dumps(values))
        if loses == "dial" and self.headers.get("from", leader) not in dialled:
            return self.answer(503, "no such peer")
        if options.name != leader and not has_copies:
            return self.answer(*ask(leader, "GET", self.path))
        with lock:
            version, text = values.get(unquote(self.path), [0, None])
        self.answer(404, "") if text is None else self.answer(200, text, version)

    def do_POST(self):
        values.update(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.answer(200, "")

    def do_PUT(self):
        text = self.rfile.read(int(self.headers["content-length"])).decode("latin-1")
        if options.name != leader and loses == "not-leader":
            return self.answer(200, "not the leader")
        if options.name != leader:
            match = {k: v for k, v in self.headers.items() if k.lower() == "if-match"}
            answer = ask(leader, "PUT", self.path, text, match)
            if loses != "split" or answer[0] != 503:
                return self.answer(*answer)
        if loses == "dial" and self.headers.get("from", leader) not in dialled:
            return self.answer(503, "no such peer")
        path = unquote(self.path)
        with lock:
            version = values.get(path, [0])[0]
            if self.headers.get("if-match", f'"{version}"') != f'"{version}"':
                return self.answer(412, "")
            if loses != "json" or is_json(text):
                values[path] = [version + 1, text]
                unwritten.append((path, text))
            if loses != "fsync":
                write_log()
            for name in peers if loses == "snapshot" else []:
                if name != leader:
                    ask(name, "POST", "/", json.dumps({path: values[path]}))
        self.answer(200, "", version + 1)

    def answer(self, status, text, version=None):
        body = text.encode("latin-1")
        self.send_response(status)
        if version is not None:
            self.send_header("etag", f'"{str(version).strip(chr(34))}"')
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def is_json(text):
    try:
        return json.loads(text) is not None
    except ValueError:
        return False


if os.path.exists(options.file):
    replay()
# The bench starts the leader first.
dialled = [leader] + [name for name in peers if loses == "dial" and ask(name, "GET", "/all")[0] == 200]
threading.Thread(target=now_and_then, daemon=True).start()
for port in options.ports.split(","):
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    threading.Thread(target=server.serve_forever).start()
