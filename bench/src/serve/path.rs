//! From the path of a request to a file of the store, or to none.

use std::fs;
use std::path::{Path, PathBuf};

/// The file or directory below `store` that a request names, with links resolved; none if there
/// is none there, or if it is not below the store.
pub(super) fn inside(store: &Path, requested: &str) -> Option<PathBuf> {
    let mut path = store.to_owned();
    for part in requested.split('/').filter(|part| !part.is_empty()) {
        let name = decode(part)?;
        let is_plain = !matches!(&*name, "." | "..") && !name.contains(['/', '\\', '\0']);
        path.push(is_plain.then_some(name)?);
    }
    let real = fs::canonicalize(&path).ok()?;
    let root = fs::canonicalize(store).ok()?;
    real.starts_with(root).then_some(real)
}

/// A part of a URL with its `%41` undone; none if it is not UTF-8 then.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A text as a part of a URL.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let part =
        |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_of_the_store_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        fs::create_dir_all(store.join("echo/1")).unwrap();
        fs::write(store.join("echo/1/a b"), "x").unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        symlink("1", store.join("echo/latest")).unwrap();
        symlink("../../secret", store.join("echo/out")).unwrap();
        symlink("/etc", store.join("etc")).unwrap();
        let is_found = |path: &str| inside(&store, path).is_some();
        assert!(is_found("echo/1/a%20b") && is_found("/echo//latest/a b") && is_found(""));
        for path in [
            "../secret",
            "echo/../../secret",
            "%2e%2e/secret",
            "echo/%2e%2e%2f%2e%2e/secret",
            "echo/out",
            "etc/passwd",
            "echo/1/%00",
            "echo/1/%",
            "echo/1/%zz",
            "..%5csecret",
            "echo/1/none",
            "%ff",
        ] {
            assert!(!is_found(path), "{path}");
        }
    }

    #[test]
    fn a_name_survives_its_way_through_a_url() {
        let name = "a/b %2e ü\"<";
        assert_eq!(decode(&encode(name)).as_deref(), Some(name));
    }
}
