"""What programs do with etcd3gw (PyPI), over JSON. The argument is a port; what is printed is the
same for every server that speaks etcd's API: ids, terms and sizes are left out."""

import base64
import sys
import threading

import requests
from etcd3gw import Etcd3Client, exceptions

client = Etcd3Client(host="127.0.0.1", port=int(sys.argv[1]), api_path="/v3/", timeout=10)


def say(*words):
    print(*words, flush=True)


def meta(pair):
    value, about = pair
    names = ("key", "create_revision", "mod_revision", "version")
    return value, [about[name] for name in names], "lease" in about


def refusal(action):
    try:
        return action()
    except exceptions.Etcd3Exception as error:
        return type(error).__name__, error.detail_text if hasattr(error, "detail_text") else ""


def encode(text):
    return base64.b64encode(text).decode()


say("put", client.put("a", "1"), client.put("b", b"\x00\xff"), client.put("d/1", ""))
say("status", sorted(client.status()))
say("members", [sorted(member) for member in client.members()][0])
say("get", client.get("a"), client.get("b"), client.get("none"), client.get("d/1"))
say("meta", [meta(pair) for pair in client.get("a", metadata=True)])
say("create", client.create("a", "2"), client.create("new", "2"))
say("replace", client.replace("a", "wrong", "3"), client.replace("a", "1", "3"), client.get("a"))
for number in range(5):
    client.put(f"d/{number}", str(9 - number))
say("prefix", [meta(pair) for pair in client.get_prefix("d/")])
for order in ("ascend", "descend"):
    for target in ("key", "version", "create", "mod", "value"):
        found = client.get_prefix("d/", sort_order=order, sort_target=target)
        say("sorted", order, target, [value for value, _ in found])
say("limit", client.get("d/", range_end="d0", limit=2))
say("all", len(client.get_all()))
say("delete", client.delete("new"), client.delete("none"), client.get("new"))
say("delete prefix", client.delete_prefix("d/"), client.get_prefix("d/"))

lease = client.lease(ttl=100)
say("lease", 98 <= lease.ttl() <= 100, lease.refresh(), lease.keys())
client.put("l/1", "x", lease)
client.put("l/2", "y", lease)
say("lease keys", sorted(lease.keys()), [meta(pair) for pair in client.get_prefix("l/")])
say("revoke", lease.revoke(), client.get_prefix("l/"), lease.ttl())
say("refusal", refusal(lease.revoke))
say("refusal", refusal(lambda: client.put("l/1", "x", lease)))

with client.lock(id="lock", ttl=60) as lock:
    say("lock", lock.is_acquired(), client.lock(id="lock", ttl=60).acquire(), lock.refresh())
say("lock", lock.is_acquired())

txn = {
    "compare": [{"key": encode(b"a"), "result": "EQUAL", "target": "VALUE", "value": encode(b"3")}],
    "success": [
        {"request_put": {"key": encode(b"a"), "value": encode(b"4"), "prev_kv": True}},
        {"request_range": {"key": encode(b"a")}},
        {"request_delete_range": {"key": encode(b"b"), "prev_kv": True}},
    ],
    "failure": [{"request_range": {"key": encode(b"a")}}],
}


def headless(answer):
    """An answer without its header, which has ids."""
    if isinstance(answer, dict):
        return {k: headless(v) for k, v in sorted(answer.items()) if k != "header"}
    return [headless(v) for v in answer] if isinstance(answer, list) else answer


say("txn", headless(client.transaction(txn)))
say("txn", headless(client.transaction(txn)))
say("refusal", refusal(lambda: client.transaction({"success": [{"request_put": {}}]})))

revision = int(client.post(client.get_url("/kv/range"), json={"key": encode(b"a")})["header"]["revision"])
for number in range(3):
    client.put("w/k", str(number))
client.delete("w/k")
events, cancel = client.watch_prefix("w/", start_revision=revision + 1)
for _, event in zip(range(4), events):
    say("event", headless(event))
cancel()
threading.Timer(0.5, lambda: client.put("w/once", "now")).start()
say("once", headless(client.watch_once("w/once", timeout=10)))
try:
    client.watch_once("w/never", timeout=0.2)
except exceptions.WatchTimedOut as error:
    say("once", type(error).__name__)

base = f"http://127.0.0.1:{sys.argv[1]}/v3"
CALLS = [
    ("kv/range", {}),
    ("kv/range", {"key": encode(b"a"), "revision": 100000}),
    ("kv/compaction", {"revision": 5}),
    ("kv/range", {"key": encode(b"a"), "revision": 2}),
    ("kv/range", {"key": encode(b"\0"), "range_end": encode(b"\0"), "count_only": True}),
    ("kv/put", {"key": encode(b"x"), "lease": 12345}),
    ("lease/timetolive", {"ID": 12345}),
    ("kv/lease/timetolive", {"ID": 12345}),
    ("lease/keepalive", {"ID": 12345}),
]
for path, body in CALLS:
    answer = requests.post(f"{base}/{path}", json=body, timeout=10)
    say("call", path, body, answer.status_code, headless(answer.json()))
