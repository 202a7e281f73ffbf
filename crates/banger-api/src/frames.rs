//! Frames on a connection that was taken over: a byte for the kind, four bytes (big-endian) for the
//! length of the payload, and the payload.

/// The bytes of a frame. A payload longer than `longest` is cut.
pub(crate) fn encode(kind: u8, payload: &[u8], longest: usize) -> Vec<u8> {
    let payload = &payload[..payload.len().min(longest)];
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(payload.len()).unwrap_or(0).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Buffers bytes until they are a frame, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete frame, parsed by `read` from its kind and payload.
    ///
    /// # Errors
    /// If the payload is longer than `longest`, or `read` does not know the frame; nothing after it
    /// can be read.
    pub(crate) fn next<T>(
        &mut self,
        longest: usize,
        read: impl FnOnce(u8, Vec<u8>) -> Option<T>,
    ) -> Result<Option<T>, &'static str> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<5>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > longest {
            return Err("a frame is too long");
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = read(head[0], payload.to_vec()).ok_or("a frame is unknown")?;
        self.bytes.drain(..5 + length);
        Ok(Some(frame))
    }
}
