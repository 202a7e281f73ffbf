//! `banger tui` with a real guest: what it uses, what listens in it, and a shell in place.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::needs_real_vms;
use crate::pty;
use crate::world::{World, shared, wait_for};

/// How long something may take that a guest without KVM has a part in.
const PATIENCE: Duration = Duration::from_secs(120);
const ROWS: u16 = 32;
const COLUMNS: u16 = 120;

/// The screen on a terminal.
struct Screen {
    child: Child,
    master: File,
    parser: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    fn new(world: &World) -> Self {
        let (master, terminal) = pty::open(Some((ROWS, COLUMNS)));
        let child = world
            .command(&["tui"])
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(Stdio::from(terminal))
            .spawn()
            .unwrap();
        let (rows, columns) = (ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap());
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (mut reader, own) = (master.try_clone().unwrap(), Arc::clone(&parser));
        std::thread::spawn(move || {
            let mut piece = [0; 65536];
            while let Ok(read @ 1..) = reader.read(&mut piece) {
                own.lock().unwrap().process(&piece[..read]);
            }
        });
        Self {
            child,
            master,
            parser,
        }
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until all of these are on the screen.
    fn sees(&self, texts: &[&str]) {
        wait_for(PATIENCE, || {
            let screen = self.parser.lock().unwrap().screen().contents();
            let missing = texts.iter().find(|it| !screen.contains(**it));
            match missing {
                None => Ok(()),
                Some(missing) => Err(format!("`{missing}` is not on the screen:\n{screen}")),
            }
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn the_screen_measures_a_guest_and_opens_a_shell_in_it() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let mut screen = Screen::new(&world);
    // Before it has the terminal, enter is no enter.
    screen.sees(&["first"]);
    screen.types("/first\r");
    screen.sees(&["filter: first", "running"]);
    // The second measurement has the rates.
    screen.types("]");
    screen.sees(&["% of ", "memory ", "received ", "/s  (most "]);
    screen.types("]");
    screen.sees(&["PROCESS", "sshd", "22 "]);
    screen.types("\r");
    screen.sees(&["root@first"]);
    screen.types("echo in$((40 + 2)); tty\r");
    screen.sees(&["in42", "/dev/pts/"]);
    screen.types("exit\r");
    screen.sees(&["filter: first", "sshd"]);
    screen.types("q");
    let status = wait_for(PATIENCE, || match screen.child.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err("the screen is still there".to_owned()),
    });
    assert!(status.success(), "{status}");
}
