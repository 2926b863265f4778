//! The wire: messages, their bodies, and the errors of the protocol.
//!
//! Source: Maelstrom's `doc/protocol.md`. One JSON object is one message,
//! `{"src": .., "dest": .., "body": {"type": .., "msg_id": .., "in_reply_to": ..}}`.
//!
//! A message exists in two forms. A [`Packet`] travels: two addresses and the text of
//! a body. A [`Message`] is read by a node: the body's header is understood, and its
//! other fields are kept as the text they came in. So a value passes through a node
//! unchanged, 64-bit integers and exotic floats included, and only code that needs a
//! field parses it.

mod address;
mod body;
mod error;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use address::{NodeId, Request};
pub use body::{Body, Malformed, encode, encode_reply};
pub use error::{ErrorCode, RpcError, brief};

/// The longest line that a node reads, in bytes. A longer one is skipped.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// A message as it travels: addresses, and the body's JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The sender.
    pub src: NodeId,
    /// The addressee.
    pub dest: NodeId,
    /// The text of one JSON object.
    pub body: String,
}

impl Packet {
    /// Appends the message as one line of JSON, newline included.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        line.push(b'{');
        self.write_fields(line);
    }

    /// The same with the number that a network gives to each message it delivers, the
    /// envelope's `id`.
    pub fn write_numbered_line(&self, id: u64, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"id\":");
        line.extend_from_slice(id.to_string().as_bytes());
        line.push(b',');
        self.write_fields(line);
    }

    /// Appends the fields of that object and its end, for a line with other fields before them.
    pub fn write_fields(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(b"\"src\":");
        write_json_string(self.src.as_str(), line);
        line.extend_from_slice(b",\"dest\":");
        write_json_string(self.dest.as_str(), line);
        line.extend_from_slice(b",\"body\":");
        line.extend_from_slice(self.body.as_bytes());
        line.extend_from_slice(b"}\n");
    }

    /// Reads a line without looking into the body.
    ///
    /// # Errors
    /// If the line is not one JSON object with `src`, `dest` and an object `body`.
    pub fn from_line(line: &[u8]) -> Result<Packet, serde_json::Error> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            src: NodeId,
            dest: NodeId,
            #[serde(borrow)]
            body: &'a RawValue,
        }
        let wire: Wire<'_> = serde_json::from_slice(line)?;
        if !wire.body.get().starts_with('{') {
            return Err(serde::de::Error::custom("body is not an object"));
        }
        Ok(Packet { src: wire.src, dest: wire.dest, body: wire.body.get().to_owned() })
    }
}

/// Node ids are almost always plain ASCII; only others need a real JSON writer.
fn write_json_string(s: &str, out: &mut Vec<u8>) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if s.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(s.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, s).expect("a string always serializes into memory");
    }
}

/// A message as a node reads it.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// The sender.
    pub src: NodeId,
    /// The addressee.
    pub dest: NodeId,
    /// The body, header understood.
    pub body: Body,
}

impl Message {
    /// Reads one line.
    ///
    /// # Errors
    /// [`Malformed`] has the reason, and the sender if that could be read.
    pub fn from_line(line: &[u8]) -> Result<Message, Malformed> {
        serde_json::from_slice(line).map_err(|e| Malformed::diagnose(line, &e))
    }

    /// Opens a packet.
    ///
    /// # Errors
    /// As [`Message::from_line`].
    pub fn from_packet(packet: Packet) -> Result<Message, Malformed> {
        match serde_json::from_str::<Body>(&packet.body) {
            Ok(body) => Ok(Message { src: packet.src, dest: packet.dest, body }),
            Err(e) => {
                let mut line = Vec::new();
                packet.write_line(&mut line);
                Err(Malformed::diagnose(&line, &e))
            }
        }
    }

    /// Returns the address for an answer to this message.
    pub fn request(&self) -> Request {
        Request { src: self.src.clone(), msg_id: self.body.msg_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_round_trip() {
        let packet =
            Packet { src: "n0".into(), dest: "q\"uote".into(), body: r#"{"type":"x"}"#.into() };
        let mut line = Vec::new();
        packet.write_line(&mut line);
        assert_eq!(Packet::from_line(&line).unwrap(), packet);
    }

    #[test]
    fn values_pass_through_as_text() {
        let line = br#"{"id":3,"src":"c1","dest":"n0","body":{"type":"echo","msg_id":1,"echo":123456789012345678901234567890.50e3}}"#;
        let message = Message::from_line(line).unwrap();
        assert_eq!(message.body.kind, "echo");
        assert_eq!(message.body.msg_id, Some(1));
        let echo = message.body.field("echo").unwrap();
        assert_eq!(echo.get(), "123456789012345678901234567890.50e3");
    }

    #[test]
    fn malformed_lines_name_whom_to_tell() {
        let bad = |line: &str| Message::from_line(line.as_bytes()).unwrap_err();
        assert_eq!(bad("").request, None);
        assert_eq!(bad("[1,2]").request, None);
        let no_type = bad(r#"{"src":"c1","dest":"n0","body":{"msg_id":7}}"#);
        assert_eq!(no_type.request, Some(Request { src: "c1".into(), msg_id: Some(7) }));
        let wrong_type = bad(r#"{"src":"c1","dest":"n0","body":{"type":5,"msg_id":7}}"#);
        assert_eq!(wrong_type.request, Some(Request { src: "c1".into(), msg_id: Some(7) }));
        assert!(
            bad(r#"{"src":"c1","dest":"n0","body":{"type":"x","msg_id":"a"}}"#).request.is_none()
        );
    }
}
