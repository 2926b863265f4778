//! The code in `README.md` is code of the repository.

use std::fs;

use crate::root;

#[test]
fn the_readme_shows_echo_as_it_is() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let echo = fs::read_to_string(root().join("workloads/src/echo.rs")).unwrap();
    assert!(readme.contains(&format!("```rust\n{echo}```\n")), "README.md has another echo");
}
