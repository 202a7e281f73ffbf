//! Splits a byte stream into lines, in bounded memory.

use super::LONGEST_LINE;

/// Splits a stream of bytes into lines; a line that is too long is dropped up to its newline.
#[derive(Debug, Default)]
pub struct LineReader {
    line: Vec<u8>,
    dropping: bool,
}

impl LineReader {
    /// A reader at the start of a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream, and passes each complete line to `take`, without its
    /// newline. Empty lines are skipped. Keeps at most [`LONGEST_LINE`] bytes.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.keep(&rest[..end]);
            if !self.line.is_empty() {
                take(&self.line);
            }
            self.line.clear();
            self.dropping = false;
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.dropping {
            return;
        }
        if self.line.len() + bytes.len() > LONGEST_LINE {
            self.dropping = true;
            self.line = Vec::new();
            return;
        }
        self.line.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut reader, mut lines) = (LineReader::new(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, |line| lines.push(line.to_vec()));
        }
        lines
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        assert_eq!(
            lines(&[b"ab", b"c\nd", b"\n\n", b"e"]),
            [b"abc".to_vec(), b"d".to_vec()]
        );
    }

    #[test]
    fn a_giant_line_is_dropped_and_the_next_one_read() {
        let longest = vec![b'x'; LONGEST_LINE];
        assert_eq!(
            lines(&[&longest, b"\nok\n"]),
            [longest.clone(), b"ok".to_vec()]
        );
        assert_eq!(
            lines(&[&longest, b"y", &longest, b"\nok\n"]),
            [b"ok".to_vec()]
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut reader = LineReader::new();
        for _ in 0..1000 {
            reader.push(&[b'x'; 4096], |_| {});
            assert!(reader.line.capacity() <= 2 * LONGEST_LINE);
        }
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_makes_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
            size in 1_usize..50,
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(lines(&pieces), lines(&[&bytes]));
        }
    }
}
