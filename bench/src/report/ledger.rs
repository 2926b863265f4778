//! The messages of a run that goes on.
//!
//! A thread writes the lines of the journal to its file and scans them, so that the run waits for
//! neither, and the page does not read the journal back: of the file only the bodies are read that
//! the page shows.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::journal::Reader;
use super::traffic::{Bodies, Traffic};

/// Bytes that go to the thread at once. A view of a run that goes on sees the file grow by them.
const PIECE_BYTES: usize = 32 << 10;
/// Pieces that wait for the thread at most: a run that is faster than the file waits.
const PIECES_MAX: usize = 64;

/// The messages that a journal's thread has scanned.
pub struct Ledger(JoinHandle<Option<Reader>>);

/// The end where the journal writes its lines, each by one call.
pub struct Lines {
    piece: Vec<u8>,
    orders: SyncSender<Order>,
}

enum Order {
    Write(Vec<u8>),
    /// Everything before is to be in the file, and the first error is told.
    Flush(SyncSender<io::Result<()>>),
}

impl Ledger {
    /// A ledger, and the end to which its journal is written. The lines go to `file`, and are only
    /// scanned if `has_page`.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn of(file: File, has_page: bool) -> io::Result<(Ledger, Lines)> {
        let (orders, taken) = sync_channel(PIECES_MAX);
        let reader = has_page.then(Reader::default);
        let thread = thread::Builder::new().name("journal".to_owned());
        let thread = thread.spawn(move || follow(file, reader, &taken))?;
        Ok((Ledger(thread), Lines { piece: Vec::with_capacity(PIECE_BYTES), orders }))
    }

    /// All messages of the run, when its journal is closed; nothing if they were not scanned. Their
    /// bodies are read from the journal's file when they are asked for.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn traffic(self, journal: &Path) -> io::Result<Option<Traffic<'static>>> {
        let Ok(reader) = self.0.join() else {
            return Err(io::Error::other("the journal's thread has panicked"));
        };
        let Some(reader) = reader else { return Ok(None) };
        Ok(Some(reader.finish(Bodies::File(File::open(journal)?, 0, Vec::new()))))
    }
}

/// Writes and scans until the journal is closed.
fn follow(mut file: File, mut reader: Option<Reader>, orders: &Receiver<Order>) -> Option<Reader> {
    let mut written = Ok(());
    for order in orders {
        match order {
            Order::Write(piece) => {
                if written.is_ok() {
                    written = file.write_all(&piece);
                }
                if let Some(reader) = &mut reader {
                    reader.lines(&piece);
                }
            }
            Order::Flush(told) => {
                // A journal that does not wait has ended, and with it the run.
                let _ = told.send(std::mem::replace(&mut written, Ok(())));
            }
        }
    }
    reader
}

impl Lines {
    fn order(&self, order: Order) -> io::Result<()> {
        let ended = |_| io::Error::other("the journal's thread has ended");
        self.orders.send(order).map_err(ended)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        match self.piece.is_empty() {
            true => Ok(()),
            false => {
                let next = Vec::with_capacity(PIECE_BYTES);
                let piece = std::mem::replace(&mut self.piece, next);
                self.order(Order::Write(piece))
            }
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Pieces end where lines end.
        if self.piece.len() + line.len() > PIECE_BYTES {
            self.hand_over()?;
        }
        self.piece.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()?;
        let (told, answer) = sync_channel(1);
        self.order(Order::Flush(told))?;
        answer.recv().unwrap_or_else(|_| Err(io::Error::other("the journal's thread has ended")))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // `flush` tells errors; a run that failed does not ask.
        let _ = self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seaworthy::message::{NodeId, Packet};
    use seaworthy::time::Time;

    use super::*;
    use crate::world::journal::Journal;

    /// The length of bodies of which a piece holds some, and not all.
    const LONG_BYTES: usize = 2000;

    #[test]
    fn a_ledger_knows_what_its_file_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (ledger, out) = Ledger::of(file.reopen().unwrap(), true).unwrap();
        let mut journal = Journal::to(Box::new(out));
        let long = "y".repeat(LONG_BYTES);
        for n in 0..300_u64 {
            let packet = Packet {
                src: NodeId::new(["n1", "n\"2", "c3"][n as usize % 3]),
                dest: NodeId::new(["c4", "n1"][n as usize % 2]),
                body: format!("{{\"type\":\"t{}\",\"msg_id\":{n},\"x\":\"{long}\"}}", n % 4),
            };
            let now = Time::ZERO + Duration::from_millis(n);
            journal.note(now, "send", n, &packet);
            let fates: &[&str] = match n % 5 {
                0 => &["drop"],
                1 => &["recv", "recv"],
                2 => &[],
                _ => &["recv"],
            };
            for fate in fates {
                journal.note(now + Duration::from_millis(3), fate, n, &packet);
            }
        }
        journal.finish().unwrap();
        drop(journal);
        let text = std::fs::read(file.path()).unwrap();
        let mut read = Traffic::read(&text);
        let mut noted = ledger.traffic(file.path()).unwrap().unwrap();
        assert_eq!(format!("{:?}", read.messages), format!("{:?}", noted.messages));
        assert_eq!(read.copies, noted.copies);
        assert_eq!((&read.parties, &read.types), (&noted.parties, &noted.types));
        assert_eq!((&read.kinds, &read.bytes), (&noted.kinds, &noted.bytes));
        assert_eq!((read.odd_lines, noted.odd_lines), (0, 0));
        for index in [0, 1, 299, 150, 7] {
            assert_eq!(read.body(index, 4000), noted.body(index, 4000));
            assert_eq!(read.body(index, 50), noted.body(index, 50));
        }
    }

    #[test]
    fn a_full_disk_is_told() {
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let (ledger, mut lines) = Ledger::of(full, true).unwrap();
        lines.write_all(b"a line\n").unwrap();
        assert_eq!(lines.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        drop(lines);
        assert!(ledger.traffic(Path::new("/dev/null")).unwrap().is_some());
    }
}
