//! Tables for the corners of the notation, properties for the rest.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use compact_str::CompactString;

use super::*;

#[test]
fn reads_and_prints_as_clojure_does() {
    let table = [
        ("nil", "nil"),
        ("[true false]", "[true false]"),
        ("42 ; the answer", "42"),
        ("-0", "0"),
        ("+7", "7"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775808N"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("7N", "7N"),
        ("1.", "1.0"),
        ("1e3", "1000.0"),
        ("12345678.9", "1.23456789E7"),
        ("0.00015", "1.5E-4"),
        ("1e10", "1.0E10"),
        ("-0.0", "-0.0"),
        ("[##NaN ##Inf ##-Inf]", "[##NaN ##Inf ##-Inf]"),
        (r#""a\n\t\"\\\u00e9\ud83d\ude00\101""#, "\"a\\n\\t\\\"\\\\é😀A\""),
        (r"[\a \newline \( \u0041 \o101 \\]", r"[\a \newline \( \A \A \\]"),
        ("{:a 1 :b/c [x y/z]}", "{:a 1, :b/c [x y/z]}"),
        ("#{1,2}", "#{1 2}"),
        ("(- + -a .b)", "(- + -a .b)"),
        ("#:db{:id 1, :_/x 2, :o/p 3}", "{:db/id 1, :x 2, :o/p 3}"),
        ("#inst\"2020-01-01\"", "#inst \"2020-01-01\""),
        ("#jepsen.history.Op{:index 3}", "#jepsen.history.Op{:index 3}"),
        ("[1 #_ #_ 2 3 4 #_5]", "[1 4]"),
        (" ; comment\n , {} ", "{}"),
        ("; ended by a carriage return\r7", "7"),
        ("[017 0x1F -0xff 36rZZ 2r101 0x10N 00]", "[15 31 -255 1295 5 16N 0]"),
        ("0xFFFFFFFFFFFFFFFFFF", "4722366482869645213695N"),
        ("[1/3 -2/4 4/2 0/5]", "[1/3 -1/2 2 0]"),
        ("[3.14M 1M -0.50M 1.5e2M 25E-3M +007.5M -0M]", "[3.14M 1M -0.50M 150M 0.025M 7.5M 0M]"),
        ("^{:line 3} [^:key x #^String y]", "[x y]"),
        ("#\"a\\d\\\"b\"", r#"#regex "a\\d\\\"b""#),
        ("#'clojure.core/inc", "#'clojure.core/inc"),
        (
            "#object[jepsen.core$f__12 0x1b2c \"f@1b2c\"]",
            "#object [jepsen.core$f__12 6956 \"f@1b2c\"]",
        ),
        ("#error {:via [#my/tag #inst \"2020\"]}", "#error {:via [#my/tag #inst \"2020\"]}"),
        ("#uuid \"a-b\"", "#uuid \"a-b\""),
    ];
    for (text, printed) in table {
        assert_eq!(parse(text).map(|v| v.to_string()).as_deref(), Ok(printed), "{text}");
    }
}

#[test]
fn complaints_name_the_place() {
    let table = [
        ("", "line 1, column 1: expected a value, found the end"),
        ("1 2", "line 1, column 3: expected one value, found more"),
        ("[1\n (2]", "line 2, column 4: unexpected ']'"),
        ("[é {:a}]", "line 1, column 7: key :a has no value"),
        ("{:a 1\n", "line 1, column 1: '{' is never closed"),
        ("{:a 1 :a 2}", "line 1, column 1: key :a occurs twice"),
        ("#{1 1N}", "line 1, column 1: key 1N occurs twice"),
        ("\n \"abc", "line 2, column 2: this string does not end"),
        ("1/0", "line 1, column 1: 1/0 is not a number that EDN knows"),
        ("1/-2", "line 1, column 1: 1/-2 is not a number that EDN knows"),
        ("1e9999M", "line 1, column 1: 1e9999M is not a number that EDN knows"),
        ("008", "line 1, column 1: 008 is not a number that EDN knows"),
        ("0x", "line 1, column 1: 0x is not a number that EDN knows"),
        ("1r1", "line 1, column 1: 1r1 is not a number that EDN knows"),
        ("1\u{7}", "line 1, column 1: 1\\u{7} is not a number that EDN knows"),
        (
            "#<Object>",
            "line 1, column 1: an object that was printed without a form that can be read: #<",
        ),
        ("#5", "line 1, column 1: unexpected '#' before '5'"),
        (":", "line 1, column 1: expected a name after the colon, found the end"),
        ("[: a]", "line 1, column 2: expected a name after the colon, found ' '"),
        ("#_", "line 1, column 3: expected a value, found the end"),
        ("[#_]", "line 1, column 4: unexpected ']'"),
        ("\"\\ud800\"", "line 1, column 3: half of a surrogate pair"),
        ("\"\\u12\"", "line 1, column 3: expected four hexadecimal digits after \\u"),
        ("\\longname", "line 1, column 1: unknown character \\longname"),
        ("^{:a 1}", "line 1, column 8: expected a value, found the end"),
        (
            "{'a': 1}",
            "line 1, column 2: unexpected '\\'': strings have double quotes, in EDN and in JSON",
        ),
    ];
    for (text, complaint) in table {
        let error = parse(text).map_err(|e| e.to_string());
        assert_eq!(error, Err(complaint.to_owned()), "{text}");
    }
}

#[test]
fn complaints_are_short() {
    for text in ["\\x", "##x", "{x 1 x 2}", "{x}", "1x"] {
        let error = parse(&text.replace('x', &"y".repeat(5000))).expect_err("not EDN");
        assert!(error.what.len() < 400, "{text}: {}", error.what.len());
    }
}

#[test]
fn depth_is_limited_and_no_nesting_overflows_the_stack() {
    let nested = |open: &str, close: &str, n| format!("{}1{}", open.repeat(n), close.repeat(n));
    assert!(parse(&nested("[", "]", MAX_DEPTH)).is_ok());
    for (open, close) in
        [("[", "]"), ("{1 ", "}"), ("#_", ""), ("#a ", ""), ("#{", "}"), ("^a ", "")]
    {
        let error = parse(&nested(open, close, 200_000)).expect_err("far too deep");
        assert!(error.what.contains("deeper"), "{open}: {error}");
    }
}

#[test]
fn json_nests_as_deep_as_edn_and_says_the_same() {
    let nested = |open: &str, close: &str, n| format!("{}1{}", open.repeat(n), close.repeat(n));
    for (open, close) in [("[", "]"), ("{\"a\": ", "}")] {
        let deepest = nested(open, close, MAX_DEPTH);
        assert_eq!(Edn::from_json(&deepest).expect("JSON").to_json(), deepest.replace(' ', ""));
        let (deeper, far) = (nested(open, close, MAX_DEPTH + 1), nested(open, close, 100_000));
        let edn = parse(&nested("[", "]", MAX_DEPTH + 1)).expect_err("too deep").what;
        for text in [deeper, far] {
            assert_eq!(Edn::from_json(&text).expect_err("too deep").to_string(), edn);
            let mut place = None;
            let told = Edn::each_in_json(&format!("{{}}\n{{\"x\": {text}}}"), "history", |_, _| {
                Ok::<(), ParseError>(())
            });
            if let Err(error) = told {
                assert_eq!(error.what, edn);
                place = Some((error.line, error.column));
            }
            // A level is the object around it.
            assert_eq!(place, Some((2, 7 + MAX_DEPTH * open.len())));
        }
    }
}

#[test]
fn the_last_of_equal_keys_counts_however_many_there_are() {
    for count in [3, 40_000] {
        let entries = |n: i64| (0..count).map(move |k| format!("\"k{k}\":{}", n * k));
        let text: Vec<String> = entries(1).chain(entries(2)).collect();
        let value = Edn::from_json(&format!("{{{}}}", text.join(","))).expect("JSON");
        let expected = (0..count).map(|k| (Edn::keyword(&format!("k{k}")), Edn::Int(2 * k)));
        assert_eq!(value.to_string(), Edn::Map(expected.collect()).to_string());
    }
}

#[test]
fn json_twin() {
    let table = [
        ("{:a 1, \"b\" [x \\y], 3 #{4}, [5] nil}", r#"{"a":1,"b":["x","y"],"3":[4],"[5]":null}"#),
        ("(123456789012345678901N 1.0 2.5 ##NaN)", "[123456789012345678901,1.0,2.5,null]"),
        ("[3.14M 1/4]", "[3.14,0.25]"),
        ("#jepsen.history.Op{:f \"q\\\"\\n\"}", r#"{"f":"q\"\n"}"#),
    ];
    for (edn, json) in table {
        assert_eq!(parse(edn).map(|v| v.to_json()).as_deref(), Ok(json));
    }
    let text = r#" {"type": "ok", "ids": [18446744073709551617, 1.5, -3, "\u00e9"], "x": null} "#;
    let value = Edn::from_json(text).expect("JSON");
    assert_eq!(
        value.to_string(),
        "{:type \"ok\", :ids [18446744073709551617N 1.5 -3 \"é\"], :x nil}"
    );
    assert!(Edn::from_json("{\"a\": }").is_err());
}

#[test]
fn equality_is_clojures() {
    let equal = |a: &str, b: &str| parse(a).expect(a) == parse(b).expect(b);
    assert!(equal("{:a 1, :b #{1 2}}", "{:b #{2 1}, :a 1N}"));
    assert!(equal("[1 (2)]", "(1 [2])"));
    assert!(equal("##NaN", "##NaN"));
    assert!(equal("[0.0 #{-0.0}]", "[-0.0 #{0.0}]"));
    assert!(!equal("0", "-0.0"));
    assert!(equal("1.50M", "1.5M"));
    assert!(equal("2/4", "1/2"));
    assert!(!equal("1", "1.0"));
    assert!(!equal("1/2", "0.5"));
    assert!(!equal("1M", "1"));
    assert!(!equal(":a", "\"a\""));
    assert!(!equal("[1 2]", "#{1 2}"));
    // Those who look numbers up by what they are find the same.
    let int = |text: &str| parse(text).expect(text).as_int();
    assert_eq!(
        [int("7"), int("7N"), int("14/2"), int("-0x7N")],
        [Some(7), Some(7), Some(7), Some(-7)]
    );
    assert_eq!([int("7.0"), int("7M"), int("9223372036854775808")], [None; 3]);
}

#[test]
fn order_across_types_and_sizes() {
    let sorted = parse(
        "[nil false true ##-Inf -18446744073709551617N -3 -2.5 -1/3 0 0.0 1/3 2/3 1 1.0M 1.0
          3/2 1.5M 1.5 9007199254740992.0
          9007199254740993 18446744073709551617N ##Inf ##NaN \\a \"a\" \"b\" :a x [] [9] [1 2]
          #{} {} {:a 1} #t 1]",
    )
    .expect("EDN");
    let mut items = sorted.as_seq().expect("a vector").to_vec();
    items.reverse();
    items.sort();
    assert_eq!(Edn::Vector(items).to_string(), sorted.to_string());
}

/// Jepsen's own files are the reference for the layout: one came from each workload.
#[test]
fn pretty_prints_results_as_jepsen_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("histories");
    let mut seen = 0;
    for dir in ["maelstrom", "maelstrom-broken"] {
        for entry in fs::read_dir(root.join(dir)).expect("fixtures") {
            let file = entry.expect("entry").path().join("results.edn");
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let value = parse(&text).expect("results are EDN");
            assert_eq!(value.pretty() + "\n", text, "{}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen} results");
}

fn any_edn() -> impl Strategy<Value = Edn> {
    let name = "[a-z][a-z0-9?*-]{0,9}";
    let leaf = prop_oneof![
        Just(Edn::Nil),
        any::<bool>().prop_map(Edn::Bool),
        any::<i64>().prop_map(Edn::Int),
        "-?[1-9][0-9]{20,30}".prop_map(Edn::BigInt),
        any::<f64>().prop_map(Edn::Float),
        "-?[1-9][0-9]{0,6}[.][0-9]{0,6}[1-9]".prop_map(|d| Edn::Decimal(CompactString::from(d))),
        (any::<i32>(), 1_u32..)
            .prop_map(|(over, under)| { parse(&format!("{over}/{under}")).expect("a ratio") }),
        any::<char>().prop_map(Edn::Char),
        any::<String>().prop_map(Edn::str),
        name.prop_map(|n| Edn::keyword(&n)),
        name.prop_filter("not a literal", |n| !["nil", "true", "false"].contains(&n.as_str()))
            .prop_map(|n| Edn::Symbol(CompactString::from(n))),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let items = prop::collection::vec(inner.clone(), 0..6);
        let distinct = prop::collection::btree_set(inner.clone(), 0..6);
        let entries = prop::collection::btree_map(inner.clone(), inner.clone(), 0..6);
        prop_oneof![
            items.clone().prop_map(Edn::List),
            items.prop_map(Edn::Vector),
            distinct.prop_map(|s| Edn::Set(s.into_iter().collect())),
            entries.prop_map(|m| Edn::Map(m.into_iter().collect())),
            (name, inner).prop_map(|(t, v)| Edn::tagged(t, v)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Compared by text as well, since equality does not tell a list from a vector.
    #[test]
    fn printing_then_reading_gives_it_back(value in any_edn()) {
        for text in [value.to_string(), value.pretty()] {
            let again = parse(&text).expect("our own text");
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(again.to_string(), value.to_string());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r#"[\[\]{}()#_:"\\a0-9N.eE+ud,; /^é-]{0,40}"#) {
        let _ = parse(&text);
        let _ = Edn::from_json(&text);
    }

    #[test]
    fn json_is_json_and_comes_back_as_itself(value in any_edn()) {
        let json = value.to_json();
        prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok());
        prop_assert_eq!(Edn::from_json(&json).expect("JSON").to_json(), json);
    }

    #[test]
    fn the_order_is_total(a in any_edn(), b in any_edn(), c in any_edn()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        let mut sorted = [&a, &b, &c];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[2]);
    }
}
