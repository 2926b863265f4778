"""What programs do with aetcd (PyPI), over gRPC. The argument is a port; what is printed is the same
for every server that speaks etcd's API: ids, terms and sizes are left out."""

import asyncio
import io
import sys

import aetcd


def say(*words):
    print(*words, flush=True)


def about(kv):
    if kv is None:
        return None
    return kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease != 0


async def refusal(action):
    try:
        return await action
    except aetcd.exceptions.ClientError as error:
        return type(error).__name__, str(error).split("details = ")[-1].split("\n")[0]


async def keys(client):
    say("put", (await client.put(b"a", b"1")).header.revision)
    put = await client.put(b"a", b"\x00\xff", prev_kv=True)
    say("put", put.header.revision, about(put.prev_kv))
    say("get", about(await client.get(b"a")), about(await client.get(b"a", serializable=True)))
    say("get", await client.get(b"none"))
    for number in range(5):
        await client.put(f"d/{number}".encode(), str(9 - number).encode())
    found = await client.get_prefix(b"d/")
    say("prefix", found.count, found.more, [about(kv) for kv in found])
    for order in ("ascend", "descend"):
        for target in ("key", "version", "create", "mod", "value"):
            found = await client.get_prefix(b"d/", sort_order=order, sort_target=target)
            say("sorted", order, target, [kv.value for kv in found])
    say("range", [about(kv) for kv in await client.get_range(b"d/1", b"d/3")])
    say("keys", [about(kv) for kv in await client.get_all(keys_only=True)])
    say("delete", about((await client.delete(b"d/1", prev_kv=True)).prev_kv))
    say("delete", await client.delete(b"none"))
    gone = await client.delete_range(b"d/0", b"d/3", prev_kv=True)
    say("delete", gone.deleted, [about(kv) for kv in gone.prev_kvs])
    say("delete", (await client.delete_prefix(b"d/")).deleted)
    say("replace", await client.replace(b"a", b"wrong", b"2"), await client.replace(b"a", b"\x00\xff", b"2"))
    say("refusal", await refusal(client.put(b"", b"x")))


async def transactions(client):
    is_two = [client.transactions.value(b"a") == b"2", client.transactions.version(b"a") > 0]
    for _ in range(2):
        succeeded, answers = await client.transaction(
            compare=is_two,
            success=[
                client.transactions.put(b"a", b"3", prev_kv=True),
                client.transactions.get(b"a"),
                client.transactions.delete(b"none"),
            ],
            failure=[client.transactions.get(b"a")],
        )
        shown = [[about(get) for _, get in a] if isinstance(a, list) else a.WhichOneof("response") for a in answers]
        say("txn", succeeded, shown)
    twice = [client.transactions.put(b"a", b"1"), client.transactions.put(b"a", b"2")]
    say("refusal", await refusal(client.transaction(compare=[], success=twice, failure=[])))


async def leases(client):
    lease = await client.lease(100, lease_id=4711)
    say("lease", lease.id, lease.ttl, 98 <= await lease.remaining_ttl() <= 100)
    await client.put(b"l/1", b"x", lease=lease)
    info = await client.get_lease_info(lease.id)
    say("lease", info.grantedTTL, list(info.keys))
    say("refresh", (await lease.refresh()).TTL, about(await client.get(b"l/1")))
    say("refusal", await refusal(client.lease(100, lease_id=4711)))
    await lease.revoke()
    say("revoke", await client.get(b"l/1"), (await client.get_lease_info(4711)).TTL)
    say("refusal", await refusal(lease.revoke()))
    say("refresh", (await client.refresh_lease(4711)).TTL)
    async with client.lock(b"lock", ttl=60) as lock:
        other = client.lock(b"lock", ttl=60)
        say("lock", await lock.is_acquired(), await other.acquire(timeout=0.3))
        await lock.refresh()
    say("lock", await lock.is_acquired())


async def watches(client):
    revision = (await client.put(b"w/0", b"first")).header.revision
    for number in range(3):
        await client.put(b"w/k", str(number).encode())
    await client.delete(b"w/k")
    watch = await client.watch_prefix(b"w/", start_revision=revision, prev_kv=True)
    seen = 0
    async for event in watch:
        say("event", event.kind, about(event.kv), about(event.prev_kv) if event.prev_kv else None)
        seen += 1
        if seen == 5:
            break
    await watch.cancel()
    deletions = await client.watch_prefix(b"w/", start_revision=revision, kind=aetcd.rtypes.EventKind.DELETE)
    async for event in deletions:
        say("deletion", about(event.kv))
        break
    await deletions.cancel()
    asyncio.get_running_loop().call_later(0.5, lambda: asyncio.ensure_future(client.put(b"w/once", b"now")))
    once = await client.watch_once(b"w/once", timeout=10)
    say("once", about(once.kv))
    try:
        await client.watch_once(b"w/never", timeout=0.2)
    except aetcd.exceptions.WatchTimeoutError as error:
        say("once", type(error).__name__)
    await client.compact(revision + 2)
    try:
        async for event in await client.watch(b"w/k", start_revision=revision):
            say("event", event)
            break
    except aetcd.exceptions.ClientError as error:
        say("compacted", type(error).__name__, getattr(error, "revision", 0) - revision)
    say("refusal", await refusal(client.compact(revision)))


async def upkeep(client):
    status = await client.status()
    say("status", status.leader is not None, status.raft_term > 0)
    say("members", {(len(m.peer_urls), len(m.client_urls)) async for m in client.members()})
    say("alarms", [alarm async for alarm in client.list_alarms()])
    await client.defragment()
    say("hash", await client.hash() > 0)
    backup = io.BytesIO()
    await client.snapshot(backup)
    say("snapshot", len(backup.getvalue()) > 100)


async def main():
    async with aetcd.Client(host="127.0.0.1", port=int(sys.argv[1]), timeout=10) as client:
        for part in (keys, transactions, leases, watches, upkeep):
            await part(client)


asyncio.run(main())
