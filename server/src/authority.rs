//! The field `:authority` of requests on HTTP/2, which some clients of etcd fill with nonsense.
//!
//! etcd's Go client 3.5.0 sends `#initially=[host:port]` (etcd-io/etcd#13192), and the one of 3.4
//! a whole URL where a call goes to one endpoint (`etcdctl defrag --cluster`). etcd does not look at
//! the field; the library beneath this server resets such a stream. No code here reads the field, so
//! each one is overwritten in place, before the library sees it, by letters of the same length: the
//! same number of bytes on the wire, and of characters once decoded. So frames keep their sizes, and
//! both sides go on to agree about the table of HPACK (RFC 7541), which counts decoded characters.
//!
//! A field is found in the first fragment of a request's headers under its number in the static
//! table, as all known clients send it. One that is hidden otherwise is left as it is.

/// The length of the first bytes of a client on HTTP/2.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
/// Length, type, flags and stream of a frame.
const FRAME_HEAD: usize = 9;
/// The longest frame that a server accepts by default; a longer one is refused by the library.
const MAX_FRAME: usize = 1 << 14;
const HEADERS: u8 = 1;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;
/// The place of `:authority` in the static table.
const AUTHORITY: usize = 1;

/// Follows the frames of one connection.
#[derive(Debug)]
pub struct Authorities {
    /// Bytes that are of no interest.
    skip: usize,
}

impl Default for Authorities {
    fn default() -> Authorities {
        Authorities { skip: PREFACE }
    }
}

impl Authorities {
    /// Overwrites authorities in the next bytes of the connection. Returns how many bytes are done
    /// with; the others are to come again, with more behind them.
    pub fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            let Some(head) = bytes.get(at..at + FRAME_HEAD) else { return at };
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            if kind == HEADERS && len <= MAX_FRAME {
                let Some(frame) = bytes.get_mut(at + FRAME_HEAD..at + FRAME_HEAD + len) else {
                    return at;
                };
                // Not a block of headers: the library says so to the client.
                let _ = overwrite(frame, flags);
            }
            self.skip = FRAME_HEAD + len;
        }
    }
}

/// Overwrites the authority in a frame. `None` if there is none to overwrite.
fn overwrite(frame: &mut [u8], flags: u8) -> Option<()> {
    let mut block = frame;
    if flags & PADDED != 0 {
        let padding = usize::from(*block.first()?);
        let end = block.len().checked_sub(padding)?;
        block = block.get_mut(1..end)?;
    }
    if flags & WITH_PRIORITY != 0 {
        block = block.get_mut(5..)?;
    }
    let mut at = 0;
    while at < block.len() {
        // How a field begins (RFC 7541, section 6).
        let (prefix, is_literal) = match block[at] {
            byte if byte >= 0x80 => (7, false),
            byte if byte >= 0x40 => (6, true),
            byte if byte >= 0x20 => (5, false),
            _ => (4, true),
        };
        let index = integer(block, &mut at, prefix)?;
        if !is_literal {
            continue;
        }
        if index == 0 {
            string(block, &mut at)?;
        }
        let (is_huffman, value) = string(block, &mut at)?;
        if index == AUTHORITY {
            let value = block.get_mut(value)?;
            match is_huffman {
                true => overwrite_huffman(value)?,
                false => value.fill(b'a'),
            }
            return Some(());
        }
    }
    None
}

/// An integer with a prefix of so many bits (RFC 7541, section 5.1).
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let mask = (1 << prefix) - 1;
    let mut value = usize::from(*block.get(*at)?) & mask;
    *at += 1;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A string (section 5.2): whether it is in Huffman's code, and where its bytes are.
fn string(block: &[u8], at: &mut usize) -> Option<(bool, std::ops::Range<usize>)> {
    let is_huffman = *block.get(*at)? >= 0x80;
    let len = integer(block, at, 7)?;
    let bytes = *at..at.checked_add(len).filter(|end| *end <= block.len())?;
    *at = bytes.end;
    Some((is_huffman, bytes))
}

/// How many symbols of HPACK's code have how many bits (RFC 7541, appendix B). The code is
/// canonical: this is enough to tell symbols apart, if not which they are.
const SYMBOLS: [(u32, u32); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];

/// Letters whose codes have 5, 6, 7 and 8 bits: a, b, j and X.
const LETTERS: [u32; 4] = [0b0_0011, 0b10_0011, 0b111_0100, 0b1111_1100];

/// How many characters a string in Huffman's code has. `None` if it is none.
fn count_characters(code: &[u8]) -> Option<usize> {
    let bit = |at: usize| u32::from(code[at / 8] >> (7 - at % 8) & 1);
    let (mut at, mut count) = (0, 0);
    'symbols: while at < code.len() * 8 {
        let (mut word, mut taken, mut first, mut before) = (0, 0, 0, 0);
        for (bits, symbols) in SYMBOLS {
            first = (first + before) << (bits - taken);
            while taken < bits {
                if at == code.len() * 8 {
                    // Less than a byte, of ones, fills the last byte.
                    return (taken < 8 && word == (1 << taken) - 1).then_some(count);
                }
                word = word << 1 | bit(at);
                at += 1;
                taken += 1;
            }
            if word - first < symbols {
                count += 1;
                continue 'symbols;
            }
            before = symbols;
        }
        return None;
    }
    Some(count)
}

/// Fills the bytes with the codes of as many letters as they had characters.
fn overwrite_huffman(code: &mut [u8]) -> Option<()> {
    let count = count_characters(code).filter(|count| *count > 0)?;
    // Five bits a letter, and up to three more, until the bytes are full.
    let mut spare = (code.len() * 8).checked_sub(5 * count).filter(|bits| *bits <= 3 * count)?;
    let mut at = 0;
    for _ in 0..count {
        let more = spare.min(3);
        spare -= more;
        for place in (0..5 + more).rev() {
            let bit = (LETTERS[more] >> place & 1) as u8;
            let shift = 7 - at % 8;
            code[at / 8] = code[at / 8] & !(1 << shift) | bit << shift;
            at += 1;
        }
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `www.example.com` (RFC 7541, section C.4.1).
    const EXAMPLE: [u8; 12] =
        [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
    /// The cookie `foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1` (section C.6.3).
    const COOKIE: [u8; 45] = [
        0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7, 0xb3, 0x35, 0xdf, 0xdf, 0xcd, 0x5b, 0x39,
        0x60, 0xd5, 0xaf, 0x27, 0x08, 0x7f, 0x36, 0x72, 0xc1, 0xab, 0x27, 0x0f, 0xb5, 0x29, 0x1f,
        0x95, 0x87, 0x31, 0x60, 0x65, 0xc0, 0x03, 0xed, 0x4e, 0xe5, 0xb1, 0x06, 0x3d, 0x50, 0x07,
    ];

    #[test]
    fn the_table_holds_all_symbols_and_the_end() {
        assert_eq!(SYMBOLS.iter().map(|(_, count)| count).sum::<u32>(), 257);
        // A full code: all the space is used.
        let used: u64 = SYMBOLS.iter().map(|(bits, n)| u64::from(*n) << (30 - bits)).sum();
        assert_eq!(used, 1 << 30);
    }

    #[test]
    fn characters_are_counted() {
        assert_eq!(count_characters(&EXAMPLE), Some(15));
        assert_eq!(count_characters(&COOKIE), Some(56));
        assert_eq!(count_characters(&[]), Some(0));
        assert_eq!(count_characters(&[0xff, 0xff]), None, "too much padding");
        assert_eq!(count_characters(&[0b0001_1000]), None, "padding of zeros");
    }

    /// The symbols of a string of letters from `LETTERS`.
    fn letters(code: &[u8]) -> String {
        let mut bits: String = code.iter().map(|byte| format!("{byte:08b}")).collect();
        let mut text = String::new();
        while !bits.is_empty() {
            let known = [("00011", 'a'), ("100011", 'b'), ("1110100", 'j'), ("11111100", 'X')];
            let (code, letter) = known.iter().find(|(code, _)| bits.starts_with(code)).unwrap();
            bits.drain(..code.len());
            text.push(*letter);
        }
        text
    }

    #[test]
    fn letters_take_the_same_bytes_and_characters() {
        for (code, count) in [(&EXAMPLE[..], 15), (&COOKIE[..], 56)] {
            let mut code = code.to_vec();
            overwrite_huffman(&mut code).unwrap();
            assert_eq!(letters(&code).len(), count);
            assert_eq!(count_characters(&code), Some(count));
        }
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    /// A connection with three frames, before and after.
    fn connection() -> (Vec<u8>, Vec<u8>) {
        let block = |name: &[u8]| {
            let mut block = vec![0x83, 0x86, 0x44, 2, b'/', b'x', 0x41, name.len() as u8];
            block.extend_from_slice(name);
            block.extend_from_slice(&[0x40, 1, b'k', 1, b'v']);
            block
        };
        let padded = |name: &[u8]| [&[2, 0, 0, 0, 0, 16][..], &block(name), &[0, 0]].concat();
        let frames = |name: &[u8]| {
            [
                &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
                &frame(4, 0, &[]),
                &frame(HEADERS, 4, &block(name)),
                &frame(0, 1, &block(b"#data")),
                &frame(HEADERS, 4 | PADDED | WITH_PRIORITY, &padded(name)),
            ]
            .concat()
        };
        (frames(b"#initially=[x:1]"), frames(b"aaaaaaaaaaaaaaaa"))
    }

    #[test]
    fn only_authorities_change_however_the_bytes_arrive() {
        let (sent, wanted) = connection();
        for piece in 1..=sent.len() {
            let (mut authorities, mut waiting, mut passed) =
                (Authorities::default(), Vec::new(), Vec::new());
            for bytes in sent.chunks(piece) {
                waiting.extend_from_slice(bytes);
                let done = authorities.pass(&mut waiting);
                passed.extend(waiting.drain(..done));
            }
            assert_eq!(passed, wanted, "pieces of {piece}");
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_of_all_kinds_are_survived(mut bytes: Vec<u8>, kind in 0u8..3, flags: u8) {
            let len = bytes.len();
            let _ = overwrite(&mut bytes.clone(), flags);
            let _ = overwrite_huffman(&mut bytes.clone());
            bytes.truncate(255);
            let mut sent = [&[0; PREFACE][..], &frame(kind, flags, &bytes)].concat();
            assert_eq!(Authorities::default().pass(&mut sent), PREFACE + FRAME_HEAD + len.min(255));
        }
    }
}
