//! Measures what the size of a chunk costs: `… --test kernel -- measure`.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Instant;

use banger_host::{Host as _, Op, snapshot_node};

use crate::place::{MIB, allocated, forget, grow, host, making_of, name, pattern, remove, store};

const SIZE_MIB: u64 = 512;
const RANDOM: u64 = 512;
const BLOCK: usize = 4096;
const ROW_MIB: u64 = 64;

pub(crate) fn run() {
    let base = Path::new("/state/large");
    let mut file = File::create(base).unwrap();
    for at in 0..SIZE_MIB {
        file.write_all(&pattern(at as u8, MIB as usize)).unwrap();
    }
    file.sync_all().unwrap();
    println!(
        "measured: | chunk | random 4 KiB writes | again | 64 MiB in a row | store per byte, random | in a row | made with these |"
    );
    println!("measured: |---|---|---|---|---|---|---|");
    for kib in [4, 8, 16, 32, 64, 128] {
        one(kib);
    }
}

/// Page-aligned bytes, for direct I/O.
struct AlignedBuffer(Vec<u8>, usize);

impl AlignedBuffer {
    fn new(length: usize) -> Self {
        let bytes = pattern(7, length + BLOCK);
        let start = bytes.as_ptr().align_offset(BLOCK);
        Self(bytes, start)
    }

    fn bytes(&self, length: usize) -> &[u8] {
        &self.0[self.1..self.1 + length]
    }
}

fn making(name: &str, kib: u64) -> Op {
    let cow = store(name);
    // At 128 KiB one metadata chunk describes more than the whole disk.
    grow(&cow, 2 * SIZE_MIB + 1);
    // A store keeps the chunk size of its header.
    let header = [0x7041_6e53, 1, 1, (kib * 2) as u32];
    let header: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    let file = File::options().write(true).open(&cow).unwrap();
    file.write_all_at(&header, 0).unwrap();
    making_of(name, SIZE_MIB, "/state/large".into(), cow, None)
}

fn opened(name: &str) -> File {
    let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let mut options = File::options();
    let options = options.read(true).write(true).custom_flags(direct);
    options.open(snapshot_node(name)).unwrap()
}

fn one(kib: u64) {
    let buffer = AlignedBuffer::new(MIB as usize);
    let name = name(900);
    let op = making(&name, kib);
    host().change(&op).unwrap();
    let device = opened(&name);
    // Every block once, in a pseudo-random order over the whole disk.
    let blocks = SIZE_MIB * MIB / BLOCK as u64;
    let random = || {
        let began = Instant::now();
        for count in 0..RANDOM {
            let block = count.wrapping_mul(2_654_435_761) % blocks;
            device
                .write_all_at(buffer.bytes(BLOCK), block * BLOCK as u64)
                .unwrap();
        }
        device.sync_all().unwrap();
        RANDOM as f64 / began.elapsed().as_secs_f64()
    };
    let (first, again) = (random(), random());
    drop(device);
    forget();
    let scattered = allocated(&store(&name)) as f64 / (RANDOM * BLOCK as u64) as f64;
    remove(&name);
    forget();
    let began = Instant::now();
    host().change(&op).unwrap();
    let made = began.elapsed().as_secs_f64() * 1000.0;
    remove(&name);
    std::fs::remove_file(store(&name)).unwrap();

    let op = making(&name, kib);
    host().change(&op).unwrap();
    let device = opened(&name);
    let began = Instant::now();
    for at in 0..ROW_MIB {
        device
            .write_all_at(buffer.bytes(MIB as usize), at * MIB)
            .unwrap();
    }
    device.sync_all().unwrap();
    let row = ROW_MIB as f64 / began.elapsed().as_secs_f64();
    drop(device);
    forget();
    let dense = allocated(&store(&name)) as f64 / (ROW_MIB * MIB) as f64;
    remove(&name);
    std::fs::remove_file(store(&name)).unwrap();
    println!(
        "measured: | {kib} KiB | {first:.0}/s | {again:.0}/s | {row:.0} MiB/s | {scattered:.2} | {dense:.3} | {made:.0} ms |"
    );
}
