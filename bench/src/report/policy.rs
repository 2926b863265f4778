//! The page's script and style, and the policy that allows these and nothing else.

/// The script, in the order in which its parts need each other.
pub(super) const SCRIPT: &str = concat!(
    include_str!("assets/data.js"),
    include_str!("assets/charts.js"),
    include_str!("assets/raft.js"),
    include_str!("assets/story.js"),
    include_str!("assets/diagram.js"),
    include_str!("assets/timeline.js"),
    include_str!("assets/traffic.js"),
    include_str!("assets/main.js"),
);

/// The style of the page and of the pictures in it.
pub(super) const STYLE: &str =
    concat!(include_str!("assets/report.css"), include_str!("../plot/style.css"));

/// The hashes of [`SCRIPT`] and [`STYLE`], a line each. A test compares them, and writes them
/// if `REWRITE=1` is set: no user has to build a crate for that.
const HASHES: &str = include_str!("assets/hashes.txt");

/// The Content-Security-Policy of the page.
pub(super) fn policy() -> String {
    let mut hashes = HASHES.lines();
    let mut next = || hashes.next().unwrap_or_default();
    let (script, style) = (next(), next());
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; \
         form-action 'none'"
    )
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_hashes_are_those_of_script_and_style() {
        let hash = |text: &str| format!("sha256-{}\n", STANDARD.encode(Sha256::digest(text)));
        let hashes = hash(SCRIPT) + &hash(STYLE);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/assets/hashes.txt");
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(path, &hashes).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), hashes, "run it with REWRITE=1");
    }
}
