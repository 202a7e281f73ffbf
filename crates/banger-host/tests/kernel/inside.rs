//! The first process in the machine, which runs the cases and ends the machine.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use banger_host::{Host as _, Linux};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

use crate::{cases, foreign, full, measure, place};

/// A case, and the name that says what it shows.
pub(crate) type Case = (&'static str, fn());

pub(crate) fn run() -> ! {
    prepare();
    let words = fs::read_to_string("/proc/cmdline").unwrap();
    if words.split_ascii_whitespace().any(|word| word == "measure") {
        measure::run();
    } else {
        for (name, case) in cases::ALL.iter().chain(foreign::ALL).chain(full::ALL) {
            let began = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                case();
                place::assert_pristine();
            }));
            match outcome {
                Ok(()) => println!("case {name}: ok ({:.1} s)", began.elapsed().as_secs_f64()),
                Err(panic) => {
                    let text = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
                    let text = text.unwrap_or_default().replace('\n', " | ");
                    println!("case {name}: FAILED {text}");
                    place::clear();
                }
            }
        }
    }
    println!("cases done");
    rustix::fs::sync();
    // If power-off fails, a reset ends QEMU, too.
    let _ = reboot(RebootCommand::Restart);
    unreachable!("the machine goes on")
}

fn prepare() {
    let nothing = MountFlags::empty();
    for (what, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(what, at, what, nothing, None).unwrap();
    }
    let mut modules: Vec<_> = fs::read_dir("/modules")
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    modules.sort();
    for module in modules {
        let file = fs::File::open(&module).unwrap();
        match finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => println!("load {}: {error}", module.display()),
        }
    }
    place::wait_for("/dev/vda");
    mount("/dev/vda", "/state", "ext4", nothing, None).unwrap();
}

/// A process that does nothing until it is killed.
pub(crate) fn wait() -> ExitCode {
    loop {
        std::thread::park();
    }
}

/// A change in a process of its own, which the parent may kill at any moment.
pub(crate) fn child(arguments: &[String]) -> ExitCode {
    let host = Linux::new().unwrap();
    let op = match arguments {
        [verb, name] if verb == "remove" => place::removing(name),
        [_, name] => place::making(name, 64),
        _ => return ExitCode::from(2),
    };
    println!("it begins");
    match host.change(&op) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
