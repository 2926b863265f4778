//! The foreign nodes and their verdicts.

/// One foreign node; see the module above.
pub(super) struct Row {
    pub mode: &'static str,
    pub flags: &'static str,
    pub status: i32,
    pub says: &'static [&'static str],
}

/// Two nodes for a second; each node gets about ten requests.
pub(super) const ECHO: &str = "-w echo --node-count 2 --time-limit 1 --rate 20 --concurrency 2";
const IDS: &str = "-w unique-ids --node-count 1 --time-limit 1 --rate 20";
const LENIENT: &str = "-w unique-ids --node-count 1 --time-limit 1 --rate 20 --lenient-responses";
const BROADCAST: &str = "-w broadcast --node-count 1 --time-limit 1 --rate 20";
const G_SET: &str = "-w g-set --node-count 1 --time-limit 1 --rate 20";
const KAFKA: &str = "-w kafka --node-count 1 --concurrency 2n --time-limit 2 --rate 40";
const LIN_KV: &str = "-w lin-kv --node-count 2 --concurrency 2n --time-limit 2 --rate 20 --seed 1";
const TXN: &str = "-w txn-list-append --node-count 1 --time-limit 1 --rate 20";
/// Long enough for a request to time out, and the next one of its worker.
const LATE_ECHO: &str = "-w echo --node-count 1 --time-limit 8 --rate 5";
const LATE_IDS: &str = "-w unique-ids --node-count 1 --time-limit 8 --rate 5";
const LATE_SET: &str = "-w g-set --node-count 1 --time-limit 8 --rate 5 --seed 1";
const LATE_KAFKA: &str =
    "-w kafka --node-count 1 --concurrency 2n --time-limit 8 --rate 5 --seed 1";
/// Long enough for a few hundred requests to services.
const TALK: &str = "-w echo --node-count 2 --time-limit 3 --rate 20 --concurrency 2";
const RINGS: &str = "-w pn-counter --node-count 3 --time-limit 8 --rate 20 \
                     --nemesis partition --nemesis-interval 1 --seed 3";
const ONE_OWNER: &str = "-w unique-ids --node-count 3 --time-limit 7 --rate 20 \
                         --nemesis partition --availability total --seed 1";

const fn row(
    mode: &'static str,
    flags: &'static str,
    status: i32,
    says: &'static [&'static str],
) -> Row {
    Row { mode, flags, status, says }
}

const GOOD: &[&str] = &["Everything looks good!"];

pub(super) const ROWS: &[Row] = &[
    // The slow ones first.
    row("null-lists value", G_SET, 0, GOOD),
    row("null-lists messages", BROADCAST, 0, GOOD),
    row("null-lists", KAFKA, 0, GOOD),
    row(
        "no-newline",
        ECHO,
        255,
        &["no init_ok within 10 s; its stdout ends in a line that has no end", "in_reply_to"],
    ),
    row("never-flushes", ECHO, 255, &["not a byte came on its stdout", "flush stdout"]),
    row(
        "init-without-reply-to",
        ECHO,
        255,
        &["init_ok without in_reply_to, which must hold the msg_id"],
    ),
    row("init-text-reply-to", ECHO, 255, &["whose in_reply_to is \"1\"; it must hold the msg_id"]),
    // A late reply mutes the node where clients close after a timeout, and only there.
    row(
        "late",
        LATE_ECHO,
        1,
        &["which has closed its connection (it got its answer or gave up waiting)"],
    ),
    row("late", LATE_SET, 0, &["which has closed its connection"]),
    row("late", LATE_KAFKA, 1, &["which has closed its connection"]),
    row("late", LATE_IDS, 0, GOOD),
    // Of three nodes a ring loses acknowledgements, and the first cut comes at once.
    row("counts-twice", RINGS, 1, &["majorities-ring", ":errors (#jepsen"]),
    row("counts-once", RINGS, 0, GOOD),
    row("one-owner", ONE_OWNER, 1, &[":availability {:valid? false"]),
    // Services carry out odd requests, seq-kv lags, and of lww-kv there are two.
    row("services", TALK, 0, GOOD),
    row("seq-lag", TALK, 0, GOOD),
    row("lww-lost", TALK, 0, GOOD),
    // Text around the message on its line, and bodies without fields, are survived.
    row("right", ECHO, 0, GOOD),
    row("text-after", ECHO, 0, GOOD),
    row("two-on-a-line", ECHO, 0, GOOD),
    row("cr", ECHO, 0, GOOD),
    row("crlf", ECHO, 0, GOOD),
    row("invalid-utf8", ECHO, 0, GOOD),
    row("body-null", ECHO, 0, GOOD),
    row("body-missing", ECHO, 0, GOOD),
    row("body-list", ECHO, 0, GOOD),
    row("to-itself", ECHO, 0, GOOD),
    row("two-init-oks", ECHO, 0, GOOD),
    row("body-text", ECHO, 1, &["the body is not an object"]),
    row("blank-line", ECHO, 1, &["the line is empty"]),
    // The envelope.
    row("need-id", ECHO, 0, GOOD),
    row("id-5", ECHO, 0, GOOD),
    row("id-null", ECHO, 1, &["the envelope's id is null"]),
    row("id-text", ECHO, 1, &["the envelope's id is \"5\""]),
    row("extra-field", ECHO, 1, &["the envelope has a field \"ts\""]),
    row("init-extra-field", ECHO, 255, &["the envelope has a field \"ts\""]),
    row("init-id-null", ECHO, 255, &["the envelope's id is null"]),
    // Addresses: every one that exists may be used.
    row("forwards", LIN_KV, 0, GOOD),
    row("from-another-node", ECHO, 0, GOOD),
    row("from-nobody", ECHO, 1, &["in the name of n99, which does not exist"]),
    row("to-a-client-that-never-was", ECHO, 1, &["to c9999, which does not exist"]),
    row("to-the-init-client", ECHO, 1, &["closed its connection"]),
    row("quoted-dest", ECHO, 255, &["to \"\\\"c", "encoded as JSON twice"]),
    // A reply is a reply whatever its own msg_id is; its structure is judged afterwards.
    row("init-odd-msg-id", ECHO, 0, GOOD),
    row("msg-id-negative", ECHO, 0, GOOD),
    row("msg-id-big", ECHO, 0, GOOD),
    row("msg-id-null", ECHO, 1, &["msg_id null", ":malformed-count 2"]),
    row("msg-id-text", ECHO, 1, &["msg_id \\\"x\\\""]),
    row("msg-id-float", ECHO, 1, &["msg_id 1.0"]),
    row("reply-to-text", ECHO, 1, &["whose in_reply_to is \"3\"", ":net-timeout"]),
    row("without-reply-to", ECHO, 1, &["echo_ok without in_reply_to", ":net-timeout"]),
    // Stricter than the reference, to which most of a run may be malformed.
    row("mostly-malformed", IDS, 1, &[":malformed-count"]),
    row("mostly-malformed", LENIENT, 0, &[":malformed-count", "Everything looks good!"]),
    row("txn-empty-list", TXN, 0, GOOD),
    row("txn-wrong-name", TXN, 1, &["malformed"]),
    row("txn-text-key", TXN, 1, &["malformed"]),
    row("txn-first-only", TXN, 1, &["malformed"]),
    row("txn-reads-only", TXN, 1, &["malformed"]),
    row("txn-reversed", TXN, 1, &["malformed"]),
    // Errors.
    row("error-11", ECHO, 1, &[":type :fail", "[:temporarily-unavailable \"own\"]"]),
    row("error-13", IDS, 0, &["[:crash \"own\"]"]),
    row("error-1000", IDS, 0, &[":type :info", "[:unknown \"own\"]"]),
    row("error-without-code", IDS, 0, &["[:unknown \"own\"]"]),
    row("error-text-code", IDS, 0, &["[:unknown \"own\"]"]),
    // Processes that die.
    row(
        "exit-at-once",
        ECHO,
        255,
        &["exited by itself (status 3)", "| foreign node, mode exit-at-once"],
    ),
    row(
        "exits-later",
        ECHO,
        255,
        &["exited by itself (status 3)", "| out of paper", "| {\"body\":{"],
    ),
];
