//! The reader of standard output. A verb that follows something writes rarely, and would notice a
//! closed pipe only with its next line: `banger vm events -f | head -n 1`.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::stdio::stdout;

/// Ends the program, with status 0, as soon as nobody reads the pipe or socket that is standard
/// output. Any other output has no reader to lose. For verbs that only show.
pub(crate) fn leave_with_it() {
    let kind = fstat(stdout()).map(|it| FileType::from_raw_mode(it.st_mode));
    if matches!(kind, Ok(FileType::Fifo | FileType::Socket)) {
        // Without the thread the next line notices, as before.
        let _ = std::thread::Builder::new()
            .name("reader".into())
            .spawn(wait);
    }
}

fn wait() {
    loop {
        let output = stdout();
        // Nothing is asked for: the kernel reports the end of the other side in any case (poll(2)).
        let mut fds = [PollFd::from_borrowed_fd(output, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().contains(PollFlags::ERR) => end(),
            Ok(_) if fds[0].revents().contains(PollFlags::HUP) => end(),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[expect(
    clippy::exit,
    reason = "the main thread is waiting for the daemon and cannot be asked"
)]
fn end() -> ! {
    std::process::exit(0)
}
