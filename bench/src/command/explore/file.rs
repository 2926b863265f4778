//! A file for a plan that overwrites no other.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a text to a file that there is not yet, or that has this text, and says which:
/// `NAME`, or `NAME-2` and so on before the endings.
pub(super) fn write_new(wanted: &Path, text: &str) -> io::Result<PathBuf> {
    let name = wanted.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (stem, endings) = name.split_once('.').unwrap_or((&name, ""));
    let dot = if endings.is_empty() { "" } else { "." };
    for n in 1_u32.. {
        let path = match n {
            1 => wanted.to_owned(),
            n => wanted.with_file_name(format!("{stem}-{n}{dot}{endings}")),
        };
        match File::create_new(&path) {
            Ok(mut file) => return file.write_all(text.as_bytes()).map(|()| path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
                    return Ok(path);
                }
            }
            Err(e) => return Err(e),
        }
    }
    unreachable!("some number is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("echo-7.plan.edn");
        let name = |text: &str| {
            let path = write_new(&wanted, text).unwrap();
            path.file_name().unwrap().to_string_lossy().into_owned()
        };
        assert_eq!(name("a"), "echo-7.plan.edn");
        assert_eq!(name("b"), "echo-7-2.plan.edn");
        assert_eq!(name("a"), "echo-7.plan.edn", "the same plan is there");
        assert_eq!(name("c"), "echo-7-3.plan.edn");
        assert_eq!(fs::read_to_string(&wanted).unwrap(), "a");
        assert!(write_new(&dir.path().join("no/where"), "a").is_err());
    }
}
