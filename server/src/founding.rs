//! The ids of a founding and of its members, from the flags that all founders were given.

use std::collections::BTreeMap;

/// The id of a founder: the same on every server that was given the same flags.
pub fn member_id(token: &str, name: &str, urls: &[String]) -> u64 {
    let mut sorted = urls.to_vec();
    sorted.sort();
    hash(["member", token, name].into_iter().chain(sorted.iter().map(String::as_str)))
}

/// Returns the id of a founding, which differs with its token and its founders.
pub fn founding_id(token: &str, founders: &BTreeMap<String, Vec<String>>) -> u64 {
    let members = founders.iter().flat_map(|(name, urls)| {
        let mut urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        urls.sort();
        std::iter::once(name.as_str()).chain(urls)
    });
    hash(std::iter::once(token).chain(members))
}

/// FNV-1a with a finish that mixes (MurmurHash3): stable for ever, unlike the standard
/// library's. Nothing depends on it but that different flags differ.
fn hash<'a>(parts: impl Iterator<Item = &'a str>) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.flat_map(|part| part.bytes().chain([0])) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state = (state ^ (state >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (state ^ (state >> 33)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn founders_agree_on_ids_and_foundings_whatever_the_order() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(member_id("t", "n1", &list("a b")), member_id("t", "n1", &list("b a")));
        assert_ne!(member_id("t", "n1", &list("a")), member_id("u", "n1", &list("a")));
        // Ids stand in logs: they must be the same for ever.
        assert_eq!(member_id("t", "n1", &list("http://127.0.0.1:2380")), MEMBER_ID);
    }

    const MEMBER_ID: u64 = 0x61e6_450e_2b4b_d791;
}
