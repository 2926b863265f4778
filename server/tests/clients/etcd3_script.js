// What programs do with etcd3 (npm), over gRPC. The argument is a port; what is printed is the same for
// every server that speaks etcd's API: ids, terms and sizes are left out.
const { Etcd3, SortTarget } = require("etcd3");

const client = new Etcd3({ hosts: `http://127.0.0.1:${process.argv[2]}` });
const say = (...words) => console.log(...words.map((word) => JSON.stringify(word)));
const refusal = (promise) =>
  promise.then(
    (value) => ["fine", value],
    (error) => [error.constructor.name, error.message.split("\n")[0]],
  );
const about = (kv) => ({
  key: kv.key.toString(),
  value: kv.value.toString(),
  create: kv.create_revision,
  mod: kv.mod_revision,
  version: kv.version,
});

async function keys() {
  await client.put("a").value("1");
  say("get", await client.get("a"), await client.get("none"), await client.get("a").number());
  await client.put("bytes").value(Buffer.from([0, 255]));
  say("bytes", [...(await client.get("bytes").buffer())]);
  const previous = await client.put("a").value("2").getPrevious();
  say("previous", about(previous));
  for (let number = 0; number < 5; number++) await client.put(`d/${number}`).value(String(9 - number));
  say("all", await client.getAll().prefix("d/").strings());
  say("keys", await client.getAll().prefix("d/").keys());
  say("count", await client.getAll().prefix("d/").count());
  for (const target of ["Key", "Version", "Create", "Mod", "Value"])
    for (const order of ["Ascend", "Descend"])
      say("sorted", target, order, await client.getAll().prefix("d/").sort(target, order).keys());
  say("limit", await client.getAll().prefix("d/").limit(2).keys());
  say("range", await client.getAll().inRange({ start: "d/1", end: "d/3" }).json());
  const range = await client.getAll().prefix("d/").exec();
  say("exec", range.count, range.more, range.kvs.map(about));
  say("revision", await client.get("a").revision(previous.mod_revision).string());
  say("delete", (await client.delete().key("d/0").exec()).deleted);
  const gone = await client.delete().prefix("d/").getPrevious();
  say("delete", gone.map(about));
  say("refusal", await refusal(client.get("a").revision(100000).string()));
  const space = client.namespace("n/");
  await space.put("k").value("v");
  say("namespace", await client.get("n/k"), await space.getAll().keys());
}

async function transactions() {
  const swap = (from, to) =>
    client
      .if("a", "Value", "==", from)
      .and("a", "Version", ">", 0)
      .then(client.put("a").value(to), client.get("a"))
      .else(client.get("a"))
      .commit();
  for (const from of ["2", "2"]) {
    const done = await swap(from, "4");
    const kvs = (answer) => (answer.response_range ? answer.response_range.kvs.map(about) : answer.response);
    say("txn", done.succeeded, done.responses.map(kvs));
  }
  const twice = client.if("a", "Version", ">", 0).then(client.put("a").value("1"), client.put("a").value("2"));
  say("refusal", await refusal(twice.commit()));
  await client.stm({ retries: 3 }).transact(async (tx) => {
    const value = await tx.get("a");
    await tx.put("stm").value(`${value}!`);
  });
  say("stm", await client.get("stm"));
}

async function leases() {
  const lease = client.lease(100);
  await lease.put("l/1").value("x");
  const id = await lease.grant();
  say("lease", id.length > 0, (await client.getAll().prefix("l/").exec()).kvs.map(about));
  const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  say("lease", left.grantedTTL, left.keys.map(String));
  await lease.keepaliveOnce();
  await lease.revoke();
  say("revoke", await client.get("l/1"));
  say("refusal", await refusal(client.leaseClient.leaseRevoke({ ID: id })));
  const lock = client.lock("lock");
  await lock.acquire();
  say("lock", await refusal(client.lock("lock").acquire()));
  await lock.release();
  say("lock", await client.lock("lock").do(() => "inside"));
  const campaign = client.election("ship").campaign("ann");
  await new Promise((done, fail) => campaign.once("elected", done).once("error", fail));
  say("leader", await client.election("ship").leader());
  await campaign.resign();
  say("leader", (await client.election("ship").leader()) ?? "none");
}

async function watches() {
  const { header } = await client.put("w/0").value("first");
  await client.put("w/k").value("1");
  await client.delete().key("w/k");
  const watcher = await client.watch().prefix("w/").startRevision(header.revision).withPreviousKV().create();
  const seen = [];
  await new Promise((done) => {
    watcher.on("put", (kv, previous) => seen.push(["put", about(kv), previous && about(previous)]));
    watcher.on("delete", (kv, previous) => seen.push(["delete", kv.key.toString(), previous && about(previous)]));
    watcher.on("data", () => (seen.length >= 4 ? done() : undefined));
    client.put("w/1").value("live").exec();
  });
  say("events", seen);
  await watcher.cancel();
  await client.kv.compact({ revision: String(Number(header.revision) + 1) });
  say("refusal", await refusal(client.kv.compact({ revision: header.revision })));
}

async function upkeep() {
  const status = await client.maintenance.status();
  say("status", Object.keys(status).includes("version"), status.leader !== "0");
  say("members", (await client.cluster.memberList({})).members.map((m) => m.peerURLs.length)[0]);
  say("alarms", (await client.maintenance.alarm({ action: "Get", memberID: 0, alarm: "None" })).alarms);
  await client.maintenance.defragment();
  await client.role("r").create();
  await client.role("r").grant({ permission: "Readwrite", range: client.range({ prefix: "d/" }) });
  await client.user("ann").create("secret");
  await client.user("ann").addRole("r");
  say("users", (await client.getUsers()).map((u) => u.name), (await client.getRoles()).map((r) => r.name));
  say("role", (await client.role("r").permissions()).map((p) => [p.permission, String(p.range.start), String(p.range.end)]));
  say("refusal", await refusal(client.user("ann").create("secret")));
  await client.user("ann").delete();
  await client.role("r").delete();
  say("users", await client.getUsers());
}

(async () => {
  for (const part of [keys, transactions, leases, watches, upkeep]) await part();
  client.close();
})().catch((error) => {
  console.log("failed", error);
  process.exit(1);
});
