//! The node that a schema is to belong to.

/// Makes JSON of a record or checkpoint, for people; `None` if it cannot.
///
/// The views read these members of an object, all of them optional: `entries`, a list of objects
/// with `index` and `term` (numbers), `operation` and `key` (strings without U+0000), of which the
/// first and all after it are replaced; `term` (a number) and `vote` (a string).
pub type Describe = fn(&[u8]) -> Option<String>;

/// The node that a schema is to belong to.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The name of the node.
    pub node: String,
    /// The name of its cluster; empty if clusters have no names.
    pub cluster: String,
    /// Tells this schema from all others if it is a new one; a random number.
    pub fresh: u64,
    /// Facts about the node, as JSON, that are kept from the first start on.
    pub about: String,
    /// Makes the records readable.
    pub describe: Describe,
}
