"""A model of one server with etcd's v3 API over JSON, which breaks what is named with --breaks.

nothing  every promise is kept
watch    a watch that names a revision gets only what comes after it began
lease    a lease ends after half its time
compare  a compare of a create revision holds, whatever the revision is
stale    every second read is answered from a copy that is up to half a second old
"""

import argparse
import json
import threading
import time
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--port", required=True, type=int)
parser.add_argument("--breaks", default="nothing")
options = parser.parse_args()
breaks = options.breaks

revision = 1
values = {}  # key -> (create revision, revision, value, lease)
copy = {}
events = []
leases = {}  # id -> [seconds, end]
reads = 0
changed = threading.Condition()


def put(request):
    key = request["key"]
    created = values[key][0] if key in values else revision
    values[key] = (created, revision, request.get("value", ""), int(request.get("lease", 0)))
    events.append({"kv": {"key": key, "value": values[key][2], "mod_revision": str(revision)}})


def find(request):
    global reads
    reads += 1
    first, end = b64decode(request["key"]), b64decode(request.get("range_end", ""))
    source = copy if breaks == "stale" and reads % 2 else values
    for key, (created, modified, value, _) in sorted(source.items()):
        if b64decode(key) == first or first <= b64decode(key) < end:
            yield {"key": key, "value": value, "create_revision": str(created), "mod_revision": str(modified)}


def holds(compare):
    created, modified, value, _ = values.get(compare["key"], (0, 0, None, 0))
    if compare["target"] == "VALUE":
        return value == compare["value"]
    if compare["target"] == "MOD":
        return modified == int(compare["mod_revision"])
    return breaks == "compare" or created == int(compare["create_revision"])


def drop(lease):
    """Ends a lease, and takes the keys that belong to it."""
    leases.pop(lease, None)
    for key in [key for key, value in values.items() if value[3] == lease]:
        del values[key]


def now_and_then():
    ticks = 0
    while True:
        time.sleep(0.05)
        ticks += 1
        with changed:
            if ticks % 10 == 0:
                copy.clear()
                copy.update(values)
            for lease in [lease for lease, (_, end) in leases.items() if end < time.monotonic()]:
                drop(lease)


def renew(lease):
    seconds = leases[lease][0]
    leases[lease][1] = time.monotonic() + (seconds / 2 if breaks == "lease" else seconds)


def call(method, request):
    """The answer to a request; None: there is no such lease."""
    global revision
    lease = int(request.get("ID", 0))
    writes = method in ("kv/put", "kv/txn")
    revision += writes
    answer = {"header": {"revision": str(revision)}}
    if method == "kv/put":
        put(request)
    elif method == "kv/range":
        answer["kvs"] = list(find(request))
    elif method == "kv/txn":
        answer["succeeded"] = all(holds(compare) for compare in request.get("compare", []))
        asked = request.get("success", []) if answer["succeeded"] else []
        # The kind of each is its only key.
        ranges = [one["request_range"] for one in asked if "request_range" in one]
        answer["responses"] = [{"response_range": {"kvs": list(find(one))}} for one in ranges]
        for one in asked:
            if "request_put" in one:
                put(one["request_put"])
    elif method == "lease/grant":
        lease = lease or revision + 10**9 + len(leases) + time.monotonic_ns() % 10**6
        leases[lease] = [int(request["TTL"]), 0]
        renew(lease)
        answer.update(ID=str(lease), TTL=request["TTL"])
    elif method == "lease/keepalive":
        if lease in leases:
            renew(lease)
        answer = {"result": {"ID": str(lease), "TTL": str(leases.get(lease, [0])[0])}}
    elif lease in leases:
        drop(lease)
    else:
        return None
    changed.notify_all()
    return answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.answer(200, {})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = self.path.removeprefix("/v3/")
        if method == "watch":
            return self.watch(request["create_request"])
        with changed:
            answer = call(method, request)
        self.answer(200, answer) if answer else self.answer(404, {"code": 5, "message": "no such lease"})

    def watch(self, request):
        self.send_response(200)
        self.send_header("connection", "close")
        self.end_headers()
        with changed:
            next_one = len(events) if breaks == "watch" else 0
        first, prefix = int(request["start_revision"]), b64decode(request["key"])
        while not self.wfile.closed:
            with changed:
                changed.wait_for(lambda: len(events) > next_one, 1)
                new, next_one = events[next_one:], len(events)
            new = [e for e in new if int(e["kv"]["mod_revision"]) >= first and b64decode(e["kv"]["key"]).startswith(prefix)]
            self.wfile.write(json.dumps({"result": {"events": new}}).encode() + b"\n")

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            self.close_connection = True


threading.Thread(target=now_and_then, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
