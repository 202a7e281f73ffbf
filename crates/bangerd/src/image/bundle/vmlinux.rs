//! The uncompressed kernel within a bzImage.
//!
//! The header of the x86 boot protocol, version 2.08 and later, has the position of the payload:
//! <https://docs.kernel.org/arch/x86/boot.html>

use std::io::Read as _;

use banger_guest::elf::{EM_X86_64, Elf};

use super::Result;
use banger_api::Error;

use super::error::failure;

/// The largest accepted size of an uncompressed kernel, in bytes.
const LARGEST: usize = 512 << 20;

/// The memory limit of the xz decoder, in bytes; kernels are built with windows of up to 128 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// The largest block of an LZ4 legacy frame, uncompressed, in bytes:
/// <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md#legacy-frame>
const LZ4_BLOCK: usize = 8 << 20;

/// Extracts the ELF file from a bzImage.
///
/// # Errors
/// `image` is not a bzImage, is truncated, or does not contain an x86-64 ELF file.
pub(super) fn unpack(image: &[u8]) -> Result<Vec<u8>> {
    let kernel = match image {
        [0x7f, b'E', b'L', b'F', ..] => image.to_vec(),
        _ => uncompress(payload(image)?)?,
    };
    match Elf::parse(&kernel) {
        Some(elf) if elf.machine == EM_X86_64 => Ok(kernel),
        _ => Err(wrong("its payload is not an x86-64 kernel")),
    }
}

fn wrong(why: impl std::fmt::Display) -> Error {
    failure(format!("the kernel cannot be unpacked: {why}"))
}

fn payload(image: &[u8]) -> Result<&[u8]> {
    let word = |at: usize| -> Result<u32> {
        let bytes = image
            .get(at..at + 4)
            .ok_or_else(|| wrong("it is too short"))?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return Err(wrong("it is not a bzImage"));
    }
    let version = word(0x206)? & 0xffff;
    if version < 0x208 {
        return Err(wrong(format!(
            "its boot protocol {version:#06x} is older than 0x0208"
        )));
    }
    let setup_sectors = match word(0x1f1)? & 0xff {
        0 => 4,
        sectors => sectors as usize,
    };
    let begin = (setup_sectors + 1) * 512 + word(0x248)? as usize;
    let length = word(0x24c)? as usize;
    image
        .get(begin..begin.saturating_add(length))
        .filter(|payload| payload.len() > 8)
        .ok_or_else(|| wrong("it is truncated"))
}

/// Decompresses a payload, and checks the size that it records.
fn uncompress(payload: &[u8]) -> Result<Vec<u8>> {
    // The kernel's build appends the size to each payload; gzip's trailer already has it.
    let Some((packed, size)) = payload.split_last_chunk() else {
        return Err(wrong("it is truncated"));
    };
    let size = u32::from_le_bytes(*size) as usize;
    if size > LARGEST {
        return Err(wrong(format!("its size of {size} bytes exceeds the limit")));
    }
    let kernel = match packed {
        [0x1f, 0x8b, ..] => read(flate2::read::GzDecoder::new(payload), size)?,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = xz2::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(wrong)?;
            read(xz2::read::XzDecoder::new_stream(packed, stream), size)?
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => read(
            zstd::stream::read::Decoder::with_buffer(packed).map_err(wrong)?,
            size,
        )?,
        [0x02, 0x21, 0x4c, 0x18, blocks @ ..] => lz4(blocks, size)?,
        _ => return Err(wrong("it is not compressed with LZ4, gzip, xz or zstd")),
    };
    if kernel.len() == size {
        return Ok(kernel);
    }
    Err(wrong(format!(
        "it is damaged: {} bytes instead of {size}",
        kernel.len()
    )))
}

/// Reads a decoder to its end, but at most one byte more than `size`.
fn read(decoder: impl std::io::Read, size: usize) -> Result<Vec<u8>> {
    let mut kernel = Vec::new();
    decoder
        .take(size as u64 + 1)
        .read_to_end(&mut kernel)
        .map_err(wrong)?;
    Ok(kernel)
}

/// Decodes the blocks of an LZ4 legacy frame; a length precedes each block.
fn lz4(mut rest: &[u8], size: usize) -> Result<Vec<u8>> {
    let mut kernel = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while let Some((length, more)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (packed, behind) = more
            .split_at_checked(length)
            .ok_or_else(|| wrong("an LZ4 block is truncated"))?;
        let count = lz4_flex::block::decompress_into(packed, &mut block).map_err(wrong)?;
        kernel.extend_from_slice(&block[..count]);
        if kernel.len() > size {
            break;
        }
        rest = behind;
    }
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    /// A kernel of some size that is not all the same.
    fn kernel() -> Vec<u8> {
        let mut kernel = b"\x7fELF\x02\x01\x01".to_vec();
        kernel.resize(64, 0);
        kernel[18] = 62;
        kernel.extend((0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()));
        kernel
    }

    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let setup = 3usize;
        let mut image = vec![0; (setup + 1) * 512];
        image[0x1f1] = setup as u8;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend([0x90; 16]);
        image.extend(payload);
        image.extend([0x90; 64]);
        image
    }

    fn with_size(mut payload: Vec<u8>, size: usize) -> Vec<u8> {
        payload.extend((size as u32).to_le_bytes());
        payload
    }

    fn payloads() -> Vec<(&'static str, Vec<u8>)> {
        let kernel = kernel();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&kernel).unwrap();
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&kernel).unwrap();
        let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18];
        for block in kernel.chunks(300_000) {
            let packed = lz4_flex::block::compress(block);
            lz4.extend((packed.len() as u32).to_le_bytes());
            lz4.extend(packed);
        }
        vec![
            ("gzip", gzip.finish().unwrap()),
            ("xz", with_size(xz.finish().unwrap(), kernel.len())),
            (
                "zstd",
                with_size(
                    zstd::encode_all(kernel.as_slice(), 1).unwrap(),
                    kernel.len(),
                ),
            ),
            ("lz4", with_size(lz4, kernel.len())),
        ]
    }

    #[test]
    fn every_compression_of_debian_is_unpacked() {
        for (name, payload) in payloads() {
            assert_eq!(unpack(&bzimage(&payload)).unwrap(), kernel(), "{name}");
        }
    }

    #[test]
    fn an_image_that_is_cut_off_is_refused() {
        for (name, payload) in payloads() {
            let image = bzimage(&payload);
            assert!(unpack(&image[..image.len() / 2]).is_err(), "{name}");
            assert!(
                unpack(&bzimage(&payload[..payload.len() / 2])).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused_in_words() {
        let refusal = |image: &[u8]| unpack(image).unwrap_err().to_string();
        assert!(refusal(b"").contains("not a bzImage"));
        assert!(refusal(&bzimage(b"BZh91AY&SY........\0\0\0\0")).contains("not compressed with"));
        let hello = zstd::encode_all(&b"hello"[..], 1).unwrap();
        assert!(refusal(&bzimage(&with_size(hello.clone(), 5))).contains("not an x86-64 kernel"));
        for size in [4, 6] {
            let damaged = bzimage(&with_size(hello.clone(), size));
            assert!(refusal(&damaged).contains("it is damaged"));
        }
        assert!(refusal(&bzimage(&with_size(hello, 1 << 30))).contains("exceeds the limit"));
    }

    #[test]
    fn a_kernel_that_is_not_packed_is_taken_as_it_is() {
        assert_eq!(unpack(&kernel()).unwrap(), kernel());
        assert!(unpack(b"\x7fELF of something else").is_err());
    }

    static PAYLOADS: std::sync::LazyLock<Vec<(&str, Vec<u8>)>> = std::sync::LazyLock::new(payloads);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_image_makes_us_panic(
            which in 0usize..4, at in 0usize..4000, with in any::<u8>(), cut in 0usize..100_000
        ) {
            let mut image = bzimage(&PAYLOADS[which].1);
            image.truncate(image.len().saturating_sub(cut));
            if let Some(byte) = image.get_mut(at) {
                *byte = with;
            }
            let _ = unpack(&image);
        }
    }
}
