//! A copy from one guest to another: what the sender in the one says goes to the receiver in the
//! other.
//!
//! Nothing is unpacked on the way. The names that come from the first guest are judged by the
//! second one, as every receiver judges what arrives.

use crate::Watch;
use crate::connection::{Connection, CopyError};
use crate::frame::{Frame, Node};
use crate::report::Report;

/// Which side of a relayed copy ended it, and why.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The guest that sends.
    #[error("{0}")]
    Sender(CopyError),
    /// The guest that receives.
    #[error("{0}")]
    Receiver(CopyError),
}

/// Passes on what `from` sends, until `to` has answered. Both copies are accepted already. The
/// report has the troubles of both sides.
///
/// # Errors
/// A connection has ended, one side breaks the protocol, or the receiver has stopped.
pub fn relay(
    from: &mut Connection,
    to: &mut Connection,
    watch: &mut dyn Watch,
) -> Result<Report, RelayError> {
    let mut place = 0;
    loop {
        let frame = from.expect().map_err(RelayError::Sender)?;
        observe(&frame, &mut place, watch);
        if let Frame::End(json) = &frame {
            let sent: Report = serde_json::from_slice(json)
                .map_err(|_| RelayError::Sender(CopyError::Broken("its report is not valid")))?;
            return end(from, to, &frame, &sent);
        }
        pass(from, to, &frame)?;
        if asks(&frame) {
            let reply = ask(to).map_err(RelayError::Receiver)?;
            if !matches!(reply, Frame::Have(..)) {
                return Err(stopped(from, &reply));
            }
            tell(from, &reply)?;
        }
    }
}

/// Whether a sender waits for a reply to this frame.
fn asks(frame: &Frame) -> bool {
    let Frame::Entry(head) = frame else {
        return false;
    };
    matches!(
        head.node,
        Node::File {
            resumable: true,
            ..
        }
    )
}

/// Sends a frame to the receiver, and notices in between that it has stopped.
fn pass(from: &mut Connection, to: &mut Connection, frame: &Frame) -> Result<(), RelayError> {
    if to.is_nearly_full() && to.has_arrived() {
        let reply = to.expect().map_err(RelayError::Receiver)?;
        return Err(stopped(from, &reply));
    }
    match to.send(frame) {
        Ok(()) => Ok(()),
        // A receiver that has stopped says why before it closes.
        Err(lost) => match to.next_frame() {
            Ok(Some(reply)) => Err(stopped(from, &reply)),
            Ok(None) | Err(_) => Err(RelayError::Receiver(lost)),
        },
    }
}

fn ask(to: &mut Connection) -> Result<Frame, CopyError> {
    to.flush()?;
    to.expect()
}

fn tell(from: &mut Connection, reply: &Frame) -> Result<(), RelayError> {
    let told = from.send(reply).and_then(|()| from.flush());
    told.map_err(RelayError::Sender)
}

/// The receiver has said something that nobody asked for: its last words. The sender hears them,
/// too.
fn stopped(from: &mut Connection, reply: &Frame) -> RelayError {
    let _ = tell(from, reply);
    RelayError::Receiver(Connection::stopped_by(reply))
}

fn end(
    from: &mut Connection,
    to: &mut Connection,
    frame: &Frame,
    sent: &Report,
) -> Result<Report, RelayError> {
    pass(from, to, frame)?;
    let reply = ask(to).map_err(RelayError::Receiver)?;
    let report = match &reply {
        Frame::Answer(json) => serde_json::from_slice::<Report>(json).ok(),
        _ => None,
    };
    let Some(mut report) = report.filter(|report| report.stopped.is_none()) else {
        return Err(stopped(from, &reply));
    };
    tell(from, &reply)?;
    report.resumed = sent.resumed;
    report.add_troubles_of(sent);
    Ok(report)
}

/// Tells the watch how far the copy is. `place` is how far its file is.
fn observe(frame: &Frame, place: &mut u64, watch: &mut dyn Watch) {
    let mut reach = |offset: u64| {
        watch.advance(offset.saturating_sub(*place));
        *place = offset.max(*place);
    };
    match frame {
        Frame::Total(files, bytes) => watch.total(*files, *bytes),
        Frame::Entry(head) => {
            if let Node::File { size, .. } = head.node {
                *place = 0;
                watch.begin(&head.path, size);
            }
        }
        Frame::From(offset) | Frame::FileEnd(offset) => reach(*offset),
        Frame::Data(offset, bytes) => reach(offset.saturating_add(bytes.len() as u64)),
        _ => {}
    }
}
