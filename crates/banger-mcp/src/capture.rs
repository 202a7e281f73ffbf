//! The bounded output of a command: its beginning and its end.

use std::collections::VecDeque;

/// One stream's output of at most `most` bytes.
#[derive(Debug)]
pub(crate) struct Capture {
    /// The maximum number of bytes kept of the beginning, and of the end.
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl Capture {
    /// An empty capture that keeps at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            half: most / 2,
            head: Vec::new(),
            tail: VecDeque::new(),
            omitted: 0,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(first);
        let last = rest.len().min(self.half);
        let over = (self.tail.len() + last).saturating_sub(self.half);
        self.tail.drain(..over);
        self.tail.extend(&rest[rest.len() - last..]);
        self.omitted += (rest.len() - last + over) as u64;
    }

    /// The text, with a line about the missing middle.
    pub(crate) fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.omitted == 0 {
            return String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned();
        }
        format!(
            "{}\n[… {} bytes omitted …]\n{}",
            String::from_utf8_lossy(&self.head),
            self.omitted,
            String::from_utf8_lossy(&tail)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept_however_the_bytes_come() {
        let bytes: Vec<u8> = (b'a'..=b'z').collect();
        for size in 1..=bytes.len() {
            let mut capture = Capture::new(10);
            for piece in bytes.chunks(size) {
                capture.push(piece);
            }
            assert_eq!(capture.text(), "abcde\n[… 16 bytes omitted …]\nvwxyz");
        }
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let mut capture = Capture::new(10);
        capture.push(b"abcdefg");
        capture.push(b"hij");
        assert_eq!(capture.text(), "abcdefghij");
    }
}
