//! What is in the guest's initramfs: a static busybox, the modules it needs, and our own first program.

use super::{cpio::Archive, kernel::Module};

const INIT: &str = include_str!("init.sh");
const POWER: &str = include_str!("power.sh");

/// Builds the archive.
///
/// # Errors
/// When busybox needs libraries that the guest does not have.
pub(crate) fn build(busybox: &[u8], modules: &[Module]) -> Result<Vec<u8>, String> {
    if needs_interpreter(busybox) {
        return Err(
            "busybox here is linked dynamically and would not start in the guest; install busybox-static".to_owned()
        );
    }
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "modules", "proc", "run", "sys"] {
        archive.directory(dir);
    }
    archive.character_device("dev/console", 5, 1);
    archive.file("bin/busybox", true, busybox);
    archive.link("bin/sh", "busybox");
    archive.file("init", true, INIT.as_bytes());
    // busybox's acpid runs the file of this name when the power button is pressed.
    archive.file("etc/acpi/PWRF/00000080", true, POWER.as_bytes());
    // They are loaded in the order of their names.
    for (number, module) in modules.iter().enumerate() {
        archive.file(&format!("modules/{number:02}-{}.ko", module.name), false, &module.data);
    }
    Ok(archive.finish())
}

/// Whether a 64-bit little-endian ELF program names an interpreter (program header `PT_INTERP`, ELF-64 Object File Format).
fn needs_interpreter(program: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = program.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let headers = || -> Option<(u64, u64, u64)> { Some((number(32, 8)?, number(54, 2)?, number(56, 2)?)) };
    let Some((offset, size, count)) = headers() else { return false };
    (0..count).any(|index| {
        let at = index.checked_mul(size).and_then(|d| d.checked_add(offset)).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| number(at, 4)) == Some(PT_INTERP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with one program header of this type behind it.
    fn elf(program_header_type: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = program_header_type;
        bytes
    }

    #[test]
    fn a_dynamic_program_is_refused_and_a_static_one_is_not() {
        assert!(build(&elf(3), &[]).is_err());
        assert!(build(&elf(1), &[]).is_ok());
    }

    #[test]
    fn the_archive_begins_the_guest_and_has_its_modules() {
        let module = Module { name: "button".to_owned(), data: b"module".to_vec() };
        let archive = build(&elf(1), &[module]).unwrap();
        let has = |needle: &[u8]| archive.windows(needle.len()).any(|w| w == needle);
        assert!(has(b"init\0") && has(b"modules/00-button.ko\0") && has(INIT.as_bytes()));
    }

    #[test]
    fn a_file_that_is_no_program_does_no_harm() {
        assert!(!needs_interpreter(b"#!/bin/sh"));
        assert!(!needs_interpreter(&[0xff; 120]));
    }
}
