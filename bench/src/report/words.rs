//! The content of a message between replicas of our own Raft, in words.
//!
//! Its JSON is short on purpose (`src/shell/raft/wire.rs` and `body.rs` have the names). The page's
//! script says the same (`assets/raft.js`): a page of a million messages cannot carry words for
//! each. A test in a browser compares the two, and one here compares the names with their source.

use serde_json::Value;

/// The words for each kind of message of the consensus core that has no fields to tell of.
const KINDS: [(&str, &str); 7] = [
    ("R", "rejected"),
    ("N", "abstained"),
    ("s", "snapshot"),
    ("S", "snapshot got"),
    ("i", "confirm?"),
    ("I", "confirmed"),
    ("n", "stand now"),
];

/// The words for what else is in a bundle.
const FIELDS: [(&[&str], &str); 5] = [
    (&["r", "o"], "request"),
    (&["a", "b"], "reply"),
    (&["s"], "who leads?"),
    (&["l"], "hears a leader"),
    (&["h"], "waits for a leader"),
];

/// Words of one message that are shown.
const SHOWN: usize = 3;

/// Such a message in a few words; none for any other message.
pub(super) fn raft(kind: &str, body: &[u8]) -> Option<String> {
    if !kind.ends_with(":raft") {
        return None;
    }
    let bundle: Value = serde_json::from_slice(body).ok()?;
    let bundle = bundle.as_object()?;
    let messages = bundle.get("m").and_then(Value::as_array);
    let mut words: Vec<String> = messages.into_iter().flatten().filter_map(part).collect();
    for (names, said) in FIELDS {
        if names.iter().any(|name| bundle.contains_key(*name)) {
            words.push(said.to_owned());
        }
    }
    let dots = if words.len() > SHOWN { " …" } else { "" };
    (!words.is_empty()).then(|| words[..words.len().min(SHOWN)].join(", ") + dots)
}

/// A message of the consensus core: its kind and its term.
fn part(message: &Value) -> Option<String> {
    let [term, body] = &message.as_array()?[..] else { return None };
    let (kind, content) = match body {
        Value::String(kind) => (kind, &Value::Null),
        body => body.as_object()?.iter().next()?,
    };
    let at = |place: usize| content.get(place);
    let holds = |place: usize| at(place) == Some(&Value::Bool(true));
    let words = match &**kind {
        "v" if holds(0) => "pre-vote?".to_owned(),
        "v" => "vote?".to_owned(),
        "V" => {
            let round = if holds(0) { "pre-vote" } else { "vote" };
            format!("{round}: {}", if holds(1) { "yes" } else { "no" })
        }
        "a" => match at(3).and_then(Value::as_array).map_or(0, Vec::len) {
            0 => "heartbeat".to_owned(),
            count => format!("append {count}"),
        },
        "A" => format!("has {}", at(1).unwrap_or(&Value::Null)),
        "o" => "outsider".to_owned(),
        kind => KINDS.iter().find(|(name, _)| *name == kind).map_or(kind, |(_, said)| *said).into(),
    };
    Some(format!("{words} t{term}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names on the wire and in the source, of all fields or variants between two lines.
    fn renamed<'s>(source: &'s str, from: &str, to: &str) -> Vec<(&'s str, &'s str)> {
        let part = source.split_once(from).unwrap().1.split_once(to).unwrap().0;
        let mut names = Vec::new();
        for piece in part.split("#[serde(rename = \"").skip(1) {
            let (short, rest) = piece.split_once('"').unwrap();
            let line = rest.lines().skip(1).find(|line| !line.trim().starts_with("///")).unwrap();
            let line = line.trim().trim_start_matches("pub(super) ");
            names.push((short, line.split(['(', ':', ',']).next().unwrap()));
        }
        names
    }

    /// The fields of a struct that is written as an array.
    fn fields<'s>(source: &'s str, name: &str) -> Vec<&'s str> {
        let part = source.split_once(&format!("struct {name} {{")).unwrap().1;
        let lines = part.split_once('}').unwrap().0.lines().map(str::trim);
        lines
            .filter_map(|line| line.trim_start_matches("pub(super) ").split_once(':'))
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn the_names_are_those_of_the_wire() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/shell/raft/");
        let [body, wire] = ["body.rs", "wire.rs"]
            .map(|name| std::fs::read_to_string(format!("{dir}{name}")).unwrap());
        let kinds = renamed(&body, "enum Body {", "\n}");
        let expected = [
            ("v", "RequestVote"),
            ("V", "Vote"),
            ("a", "Append"),
            ("A", "Appended"),
            ("R", "Rejected"),
            ("N", "Abstained"),
            ("s", "Snapshot"),
            ("S", "SnapshotProgress"),
            ("i", "ReadIndex"),
            ("I", "ReadIndexReply"),
            ("n", "TimeoutNow"),
            ("o", "Outsider"),
        ];
        assert_eq!(kinds, expected);
        // A kind without words of its own would be told by its letter.
        for (short, name) in kinds {
            let message = serde_json::json!({"m": [[7, {short: []}]]}).to_string();
            let told = raft("x:raft", message.as_bytes()).unwrap();
            assert!(told.len() > "x t7".len() && told.ends_with(" t7"), "{name}: {told}");
        }
        assert_eq!(fields(&body, "RequestVote")[0], "pre");
        assert_eq!(fields(&body, "Vote"), ["pre", "granted"]);
        assert_eq!(fields(&body, "Append")[3], "entries");
        assert_eq!(fields(&body, "Appended")[1], "matched");
        let bundle = renamed(&wire, "struct Bundle {", "\n}");
        for pair in [
            ("m", "raft"),
            ("r", "requests"),
            ("o", "passed_on"),
            ("a", "replies"),
            ("b", "replies_back"),
            ("s", "seeks"),
            ("l", "hears"),
            ("h", "wake"),
        ] {
            assert!(bundle.contains(&pair), "{pair:?} is not in {bundle:?}");
        }
    }

    #[test]
    fn a_bundle_is_told_in_words() {
        let told = |body: &str| raft("lin-kv:raft", body.as_bytes());
        assert_eq!(told(r#"{"m":[[2,{"v":[true,false,[1,34]]}]]}"#).unwrap(), "pre-vote? t2");
        assert_eq!(
            told(r#"{"m":[[2,{"V":[false,true]}]],"l":true}"#).unwrap(),
            "vote: yes t2, hears a leader"
        );
        assert_eq!(
            told(r#"{"m":[[1,{"a":[[1,3],3,6,[[1,[4]]]]}],[1,{"A":[7,34]}]]}"#).unwrap(),
            "append 1 t1, has 34 t1"
        );
        assert_eq!(told(r#"{"m":[[3,"n"]]}"#).unwrap(), "stand now t3");
        assert_eq!(told(r#"{"t":1}"#), None);
        assert_eq!(told("{"), None);
        assert_eq!(raft("read", b"{}"), None);
    }
}
