//! Takes URLs out of the `:authority` of HTTP/2 requests.
//!
//! Clients of etcd 3.4 put an endpoint there as it was given to them, with `http://` before host and port
//! (`etcdctl endpoint status`, `defrag` and `move-leader` do). etcd's server never looks at the field; the
//! library here resets the stream of a request whose authority is not valid. This program reads the field
//! nowhere, so any authority will do.
//!
//! The header is a literal of HPACK with a new entry in its table (`0x41`), coded as Huffman has it (RFC
//! 7541, appendix B). Three characters change into others whose codes differ in the last bit alone: `:`
//! into `B`, and `/` into `3`, twice. So no length changes, neither of the frame nor of the table's
//! entry, and bytes can pass one by one.

/// In this many bytes of a connection its first request is looked for. The table keeps the header for
/// all others.
const BEGINNING_BYTES: usize = 16 << 10;
/// A literal with a new entry, whose name is the first one of the static table.
const AUTHORITY: u8 = 0x41;
/// The flag of Huffman's code, in the byte of the length.
const HUFFMAN: u8 = 0x80;

/// The bits of a byte that are compared, their value, and the bits that are changed.
type Step = (u8, u8, u8);

/// `http://`, which ends with the first bit of the last byte.
const HTTP: [Step; 6] = [
    (0xff, 0x9d, 0),
    (0xff, 0x29, 0),
    (0xff, 0xae, 0),
    (0xff, 0xe3, 0x08),
    (0xff, 0x0c, 0x20),
    (0x80, 0x00, 0x80),
];

/// `https://`, which ends with the sixth bit of the last byte.
const HTTPS: [Step; 6] = [
    (0xff, 0x9d, 0),
    (0xff, 0x29, 0),
    (0xff, 0xad, 0),
    (0xff, 0x17, 0),
    (0xff, 0x18, 0x41),
    (0xfc, 0x60, 0x04),
];

/// How far a connection has been looked at.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    seen: usize,
    /// Bytes of the header that have passed.
    at: usize,
    is_https: bool,
    is_done: bool,
}

impl Authority {
    /// Mends the header in the next bytes of a connection, if it is there.
    pub(crate) fn mend(&mut self, bytes: &mut [u8]) {
        if self.is_done {
            return;
        }
        bytes.iter_mut().for_each(|byte| self.pass(byte));
        self.seen += bytes.len();
        self.is_done |= self.seen > BEGINNING_BYTES;
    }

    fn pass(&mut self, byte: &mut u8) {
        let step = match self.at {
            _ if self.is_done => return,
            0 => None,
            1 if *byte & HUFFMAN != 0 => return self.at = 2,
            1 => None,
            at => Some(self.step(at - 2, *byte)),
        };
        match step {
            Some((mask, value, bits)) if *byte & mask == value => {
                *byte ^= bits;
                self.at += 1;
                self.is_done = self.at == 2 + HTTP.len();
            }
            _ => self.at = usize::from(*byte == AUTHORITY),
        }
    }

    /// The step for a byte of the value. The third one tells which of the two it is.
    fn step(&mut self, place: usize, byte: u8) -> Step {
        if place == 2 {
            self.is_https = byte == HTTPS[2].1;
        }
        match self.is_https && place >= 2 {
            true => HTTPS[place],
            false => HTTP[place],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As etcdctl 3.4.23 sent it for `http://127.0.0.1:NNNNN`.
    const SENT: [u8; 18] = [
        0x41, 0x90, 0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x04, 0x4e, 0xae, 0x05, 0xc0, 0xb8, 0x6e, 0x34,
        0xe8, 0x9b, 0x67,
    ];
    /// The same for `httpB33127.0.0.1:NNNNN`.
    const MENDED: [u8; 6] = [0x9d, 0x29, 0xae, 0xeb, 0x2c, 0x84];

    #[test]
    fn a_url_becomes_an_authority_however_its_bytes_arrive() {
        for split in 0..=SENT.len() {
            let (mut bytes, mut authority) = (SENT, Authority::default());
            let (first, second) = bytes.split_at_mut(split);
            authority.mend(first);
            authority.mend(second);
            assert_eq!(bytes[2..8], MENDED, "{split}");
            assert_eq!((&bytes[..2], &bytes[8..]), (&SENT[..2], &SENT[8..]));
            let mut again = SENT;
            authority.mend(&mut again);
            assert_eq!(again, SENT, "one header a connection");
        }
        let mut https = [0x41, 0x41, 0x90, 0x9d, 0x29, 0xad, 0x17, 0x18, 0x61];
        Authority::default().mend(&mut https);
        assert_eq!(https[6..], [0x17, 0x59, 0x65]);
    }

    #[test]
    fn other_bytes_stay() {
        // "127.0.0.1", and a length without Huffman's flag.
        let mut plain = [0x41, 0x87, 0x08, 0x9d, 0x5c, 0x0b, 0x81, 0x70, 0x41, 0x09, 0x9d, 0x29];
        let before = plain;
        Authority::default().mend(&mut plain);
        assert_eq!(plain, before);
        let (mut late, mut authority) = (SENT, Authority::default());
        authority.mend(&mut [0; BEGINNING_BYTES + 1]);
        authority.mend(&mut late);
        assert_eq!(late, SENT);
    }
}
