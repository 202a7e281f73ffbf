//! The frames that carry many streams over one port.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the kind; 0 is padding, one byte long |
//! | 4 | the stream's number, big-endian; 0 concerns all streams |
//! | 2 | the length of the payload, big-endian, at most [`LONGEST_FRAME`] |
//! | … | the payload |
//! | 1 | [`TRAILER`] |
//!
//! A daemon may be killed in the middle of a frame, and the next one shares the same byte stream.
//! It begins with as many zeros as the longest frame has bytes, and a hello. The zeros complete the
//! interrupted frame, whose trailer is then wrong, so all of it is dropped.

/// The maximum length of a payload, in bytes.
pub const LONGEST_FRAME: usize = 16 << 10;

/// The length of a hello's token, in bytes.
pub const TOKEN: usize = 16;

/// The last byte of each frame.
const TRAILER: u8 = 0xA5;

const HEAD: usize = 7;

/// The meaning of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// From the daemon: forget all streams; the payload is a token.
    Hello,
    /// From the guest: the hello with this token has been obeyed.
    Welcome,
    /// From the daemon: a new stream.
    Open,
    /// Bytes of a stream.
    Data,
    /// This many more bytes may be sent: four bytes, big-endian.
    Credit,
    /// The end of this direction; the other one continues.
    End,
    /// The sender has closed the stream; bytes before it are still valid.
    Close,
    /// From the guest: it has lost its position or has restarted, and needs a hello.
    Lost,
}

impl FrameKind {
    const ALL: [Self; 8] = [
        Self::Hello,
        Self::Welcome,
        Self::Open,
        Self::Data,
        Self::Credit,
        Self::End,
        Self::Close,
        Self::Lost,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    fn byte(self) -> u8 {
        self as u8 + 1
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its meaning.
    pub kind: FrameKind,
    /// The stream that it concerns, or 0.
    pub stream: u32,
    /// Its payload, at most [`LONGEST_FRAME`] bytes.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Appends a frame to `out`. A payload that is too long is cut.
    pub fn write(kind: FrameKind, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
        let payload = &payload[..payload.len().min(LONGEST_FRAME)];
        let length = u16::try_from(payload.len()).unwrap_or(0);
        out.push(kind.byte());
        out.extend(stream.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(payload);
        out.push(TRAILER);
    }

    /// Appends zeros that complete any interrupted frame.
    pub fn write_padding(out: &mut Vec<u8>) {
        out.resize(out.len() + HEAD + LONGEST_FRAME + 1, 0);
    }
}

/// The frame that begins a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    /// Any hello.
    Hello,
    /// The welcome with this token.
    Welcome([u8; TOKEN]),
}

/// Splits bytes into frames, in bounded memory. At first it has no position: everything up to a
/// hello, or to the welcome for ours, is dropped.
#[derive(Debug)]
pub struct FrameReader {
    bytes: Vec<u8>,
    start: Start,
    lost: bool,
}

impl FrameReader {
    /// The guest's reader.
    #[must_use]
    pub fn of_guest() -> Self {
        Self::new(Start::Hello)
    }

    /// The reader of a daemon that has sent a hello with this token.
    #[must_use]
    pub fn of_daemon(token: [u8; TOKEN]) -> Self {
        Self::new(Start::Welcome(token))
    }

    fn new(start: Start) -> Self {
        Self {
            bytes: Vec::new(),
            start,
            lost: true,
        }
    }

    /// Whether it waits for the beginning of a conversation.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Takes the next bytes, and passes each complete frame to `take`.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Frame)) {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let rest = &self.bytes[at..];
            let read = if self.lost {
                self.find_start(rest)
            } else {
                next(rest)
            };
            match read {
                Read::Frame(frame, length) => {
                    self.lost = false;
                    take(frame);
                    at += length;
                }
                Read::Skip(count) => at += count,
                Read::Bad => self.lost = true,
                Read::More => break,
            }
        }
        self.bytes.drain(..at);
    }

    fn find_start(&self, rest: &[u8]) -> Read {
        let kind = match self.start {
            Start::Hello => FrameKind::Hello,
            Start::Welcome(_) => FrameKind::Welcome,
        };
        let head = [kind.byte(), 0, 0, 0, 0, 0, 16];
        let Some(skip) = rest.iter().position(|byte| *byte == head[0]) else {
            return if rest.is_empty() {
                Read::More
            } else {
                Read::Skip(rest.len())
            };
        };
        if skip > 0 {
            return Read::Skip(skip);
        }
        let known = rest.len().min(HEAD);
        if rest[..known] != head[..known] {
            return Read::Skip(1);
        }
        let Some(frame) = rest.get(HEAD..=HEAD + TOKEN) else {
            return Read::More;
        };
        let (token, trailer) = (&frame[..TOKEN], frame[TOKEN]);
        let is_ours = match &self.start {
            Start::Hello => true,
            Start::Welcome(ours) => token == ours,
        };
        if trailer != TRAILER || !is_ours {
            return Read::Skip(1);
        }
        let payload = token.to_vec();
        let stream = 0;
        let frame = Frame {
            kind,
            stream,
            payload,
        };
        Read::Frame(frame, HEAD + TOKEN + 1)
    }
}

enum Read {
    Frame(Frame, usize),
    Skip(usize),
    Bad,
    More,
}

fn next(rest: &[u8]) -> Read {
    let Some(first) = rest.first() else {
        return Read::More;
    };
    if *first == 0 {
        return Read::Skip(rest.iter().take_while(|byte| **byte == 0).count());
    }
    let Some(kind) = FrameKind::of(*first) else {
        return Read::Bad;
    };
    let Some(head) = rest.get(1..HEAD) else {
        return Read::More;
    };
    let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    if length > LONGEST_FRAME {
        return Read::Bad;
    }
    match rest.get(HEAD + length) {
        None => Read::More,
        Some(&TRAILER) => {
            let payload = rest[HEAD..HEAD + length].to_vec();
            let frame = Frame {
                kind,
                stream,
                payload,
            };
            Read::Frame(frame, HEAD + length + 1)
        }
        Some(_) => Read::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(token: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        Frame::write_padding(&mut bytes);
        Frame::write(FrameKind::Hello, 0, &[token; TOKEN], &mut bytes);
        bytes
    }

    fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Frame::write(FrameKind::Data, stream, payload, &mut bytes);
        bytes
    }

    fn frames(reader: &mut FrameReader, bytes: &[u8], piece: usize) -> Vec<Frame> {
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            reader.push(piece, |frame| all.push(frame));
        }
        all
    }

    #[test]
    fn a_daemon_ignores_all_before_its_welcome() {
        let mut reader = FrameReader::of_daemon([7; TOKEN]);
        let mut bytes = data(3, b"of another");
        Frame::write(FrameKind::Welcome, 0, &[6; TOKEN], &mut bytes);
        assert_eq!(frames(&mut reader, &bytes, 5), []);
        assert!(reader.is_lost());
        let mut bytes = Vec::new();
        Frame::write(FrameKind::Welcome, 0, &[7; TOKEN], &mut bytes);
        bytes.extend(data(1, b"x"));
        let all = frames(&mut reader, &bytes, 1);
        assert_eq!(all[0].kind, FrameKind::Welcome);
        assert_eq!((all[1].stream, &*all[1].payload), (1, &b"x"[..]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_frame_cut_anywhere_is_dropped_and_the_next_hello_is_read(
            payload in proptest::collection::vec(any::<u8>(), 0..LONGEST_FRAME),
            cut in any::<proptest::sample::Index>(),
            piece in 1_usize..5000,
        ) {
            let mut reader = FrameReader::of_guest();
            frames(&mut reader, &hello(1), 4096);
            let whole = data(9, &payload);
            let cut = cut.index(whole.len());
            let mut bytes = whole[..cut].to_vec();
            bytes.extend(hello(2));
            bytes.extend(data(1, b"after"));
            let all = frames(&mut reader, &bytes, piece);
            prop_assert_eq!(all.len(), 2, "nothing of the cut frame is taken");
            prop_assert_eq!(&all[0].payload, &[2; TOKEN].to_vec());
            prop_assert_eq!(&*all[1].payload, b"after");
        }

        #[test]
        fn any_bytes_are_read_in_bounded_memory(
            bytes in proptest::collection::vec(prop_oneof![0_u8..9, any::<u8>()], 0..60_000),
            piece in 1_usize..9000,
        ) {
            let mut reader = FrameReader::of_guest();
            frames(&mut reader, &hello(1), 4096);
            for piece in bytes.chunks(piece) {
                reader.push(piece, |frame| assert!(frame.payload.len() <= LONGEST_FRAME));
                prop_assert!(reader.bytes.len() <= HEAD + LONGEST_FRAME + 1);
            }
            let all = frames(&mut reader, &hello(2), 4096);
            prop_assert_eq!(all.last().map(|it| it.kind), Some(FrameKind::Hello));
        }
    }
}
