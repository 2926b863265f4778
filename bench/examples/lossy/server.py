"""A replicated store, or so it says: n0 keeps all values, the others pass requests on.

It acknowledges a write that is in memory, and saves its file once a second. With --sync it
saves first. GET /v1/KEY and PUT /v1/KEY, with ETag and If-Match.
"""

import argparse
import http.client
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--name", required=True)
parser.add_argument("--file", required=True)
parser.add_argument("--ports", required=True, help="for clients and for peers: 10001,10002")
parser.add_argument("--cluster", required=True, help="n0=127.0.0.1:10003,...")
parser.add_argument("--sync", action="store_true")
options = parser.parse_args()
leader, address = options.cluster.split(",")[0].split("=")

values = {}  # key -> [version, text]
lock = threading.Lock()


def save():
    with open(options.file + ".new", "w") as file:
        json.dump(values, file)
    os.replace(options.file + ".new", options.file)


def save_now_and_then():
    while True:
        time.sleep(1)
        with lock:
            save()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if options.name != leader:
            return self.pass_on("")
        with lock:
            version, text = values.get(self.path, [0, None])
        if text is None:
            return self.answer(404, "")
        self.answer(200, text, version)

    def do_PUT(self):
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        if options.name != leader:
            return self.pass_on(text)
        with lock:
            version = values.get(self.path, [0])[0]
            if self.headers.get("if-match", f'"{version}"') != f'"{version}"':
                return self.answer(412, "")
            values[self.path] = [version + 1, text]
            if options.sync:
                save()
        self.answer(200, "", version + 1)

    def pass_on(self, text):
        headers = {k: v for k, v in self.headers.items() if k.lower() == "if-match"}
        try:
            peer = http.client.HTTPConnection(address, timeout=2)
            peer.request(self.command, self.path, text, headers)
            answer = peer.getresponse()
            self.answer(answer.status, answer.read().decode(), answer.headers.get("etag"))
        except OSError:
            self.answer(503, "the leader does not answer")

    def answer(self, status, text, version=None):
        self.send_response(status)
        if version is not None:
            self.send_header("etag", f'"{str(version).strip(chr(34))}"')
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


if os.path.exists(options.file):
    values = json.load(open(options.file))
threading.Thread(target=save_now_and_then, daemon=True).start()
for port in options.ports.split(","):
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    threading.Thread(target=server.serve_forever).start()
