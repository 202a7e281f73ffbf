//! Hosts that consist of another one pass its answers on.

/// Implements questions of [`Look`] by asking a field, which has the answers.
macro_rules! ask_field {
    ($field:ident: $($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self, $($argument: $kind),*) -> $answer {
            self.$field.$name($($argument),*)
        }
    )*};
}

/// Implements the questions that need no privileges by asking a field.
macro_rules! ask_field_without_privileges {
    ($field:ident) => {$crate::look::ask_field! {$field:
        read(path: &std::path::Path) -> $crate::Result<Option<Vec<u8>>>;
        read_at(path: &std::path::Path, offset: u64, limit: usize) -> $crate::Result<Vec<u8>>;
        list(directory: &std::path::Path) -> $crate::Result<Vec<String>>;
        stat(path: &std::path::Path) -> $crate::Result<Option<$crate::Stat>>;
        is_alive(process: &$crate::Process) -> bool;
        is_stopped(process: &$crate::Process) -> bool;
        find_processes(mark: &$crate::Mark) -> $crate::Result<Vec<$crate::Process>>;
        find_machines(instance: $crate::Instance, programs: &[std::path::PathBuf])
            -> $crate::Result<Vec<(String, $crate::Process)>>;
        wait_any(processes: &[$crate::Process], timeout: std::time::Duration) -> Vec<$crate::Process>;
        usage(process: &$crate::Process) -> $crate::Result<Option<$crate::ProcessUsage>>;
        exit_of(process: &$crate::Process) -> Option<$crate::Exit>;
        interfaces(prefix: &str) -> $crate::Result<Vec<String>>;
        firewall_elements(table: &str) -> $crate::Result<$crate::Elements>;
        forwarding(interface: &str) -> $crate::Result<Option<bool>>;
        forwards_everywhere() -> $crate::Result<bool>;
        tap_holds(instance: $crate::Instance, tap: &$crate::GuestTap) -> $crate::Result<bool>;
        uplink() -> $crate::Result<Option<String>>;
        ways_out() -> $crate::Result<Vec<String>>;
        resolvers() -> $crate::Result<$crate::Resolvers>;
        is_own_address(address: std::net::IpAddr) -> $crate::Result<bool>;
        free_port(wanted: Option<u16>) -> $crate::Result<u16>;
        memory_mib() -> $crate::Result<u64>;
        free_memory_mib() -> $crate::Result<u64>;
        load() -> $crate::Result<[f64; 3]>;
        name() -> String;
        cpus() -> u32;
        free_mib(directory: &std::path::Path) -> $crate::Result<u64>;
        room(directory: &std::path::Path) -> $crate::Result<$crate::Room>;
        largest_file(directory: &std::path::Path) -> $crate::Result<u64>;
        shared(path: &std::path::Path) -> $crate::Result<Option<u64>>;
        snapshots(prefix: &str) -> $crate::Result<Vec<String>>;
        clocks() -> $crate::Clocks;
        boot_id() -> $crate::Result<String>;
        uid() -> u32;
    }};
}

pub(crate) use {ask_field, ask_field_without_privileges};
