//! The probe guest: a firmware image that computes something in long mode and reports it to a port.
//!
//! Not the real mode alone: there are hosts on whose KVM the BIOS runs to its end and no kernel ever gets
//! going. What a kernel needs first is what this does first: protected mode, paging, long mode, and then
//! enough 64-bit work with memory that it cannot be an accident.
//!
//! The image is mapped below 4 GiB and, the last 64 KiB of it, below 1 MiB. The CPU starts at the 16 bytes
//! from its end. The port is that of QEMU's `isa-debug-exit`: a byte `v` written to it ends QEMU with
//! exit code `2 v + 1`.

/// The port that reports.
pub(super) const PORT: u16 = 0xf4;

/// Written after the work in long mode gave the right number.
const DONE: u8 = 0x2a;
/// Written if the CPU model has no long mode, which its CPUID says.
const NO_LONG_MODE: u8 = 0x15;
/// Written if the number was wrong.
const WRONG: u8 = 0x16;

/// QEMU's exit code for a byte that was reported.
const fn exit_code(byte: u8) -> i32 {
    byte as i32 * 2 + 1
}

/// What an exit code of QEMU says of the probe guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Executed,
    Miscalculated,
    None,
}

impl Report {
    pub(super) fn of(code: i32) -> Self {
        match code {
            code if code == exit_code(DONE) || code == exit_code(NO_LONG_MODE) => Self::Executed,
            code if code == exit_code(WRONG) => Self::Miscalculated,
            _ => Self::None,
        }
    }
}

const IMAGE: usize = 64 << 10;
/// Where the code sits: at 0xff000 as the guest sees it below 1 MiB, at 0xf000 within segment 0xf000.
const CODE_AT: usize = 0xf000;
const RESET_AT: usize = 0xfff0;

/// The image.
pub(super) fn image() -> Vec<u8> {
    let mut image = vec![0; IMAGE];
    let code = code();
    image[CODE_AT..CODE_AT + code.len()].copy_from_slice(&code);
    // jmp to CODE_AT
    image[RESET_AT..RESET_AT + 3].copy_from_slice(&[0xe9, 0x0d, 0xf0]);
    image
}

fn code() -> Vec<u8> {
    let mut code = REAL_MODE.to_vec();
    code.extend(PROTECTED_MODE);
    code.extend(LONG_MODE);
    code.extend(REPORT);
    code.extend(DESCRIPTORS);
    code
}

/// Offset 0x00.
#[rustfmt::skip]
const REAL_MODE: &[u8] = &[
    0xfa,                                           // cli
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0xf0, 0xf0,       // lgdt cs:[0xf0f0]
    0x0f, 0x20, 0xc0,                               // mov eax, cr0
    0x0c, 0x01,                                     // or al, 1                  protection on
    0x0f, 0x22, 0xc0,                               // mov cr0, eax
    0x66, 0xea, 0x18, 0xf0, 0x0f, 0x00, 0x08, 0x00, // jmp 8:0xff018
];

/// Offset 0x18.
#[rustfmt::skip]
const PROTECTED_MODE: &[u8] = &[
    0x66, 0xb8, 0x10, 0x00,                         // mov ax, 0x10
    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0,             // mov ds, ax; mov es, ax; mov ss, ax
    0xb8, 0x01, 0x00, 0x00, 0x80,                   // mov eax, 0x80000001
    0x0f, 0xa2,                                     // cpuid
    0x0f, 0xba, 0xe2, 0x1d,                         // bt edx, 29                long mode?
    0xb0, NO_LONG_MODE,                             // mov al, NO_LONG_MODE
    0x0f, 0x83, 0x8c, 0x00, 0x00, 0x00,             // jnc report
    0xc7, 0x05, 0x00, 0x10, 0x00, 0x00,             // mov dword [0x1000], 0x2003    PML4: table at 0x2000
                0x03, 0x20, 0x00, 0x00,
    0xc7, 0x05, 0x00, 0x20, 0x00, 0x00,             // mov dword [0x2000], 0x3003    PDPT: table at 0x3000
                0x03, 0x30, 0x00, 0x00,
    0xc7, 0x05, 0x00, 0x30, 0x00, 0x00,             // mov dword [0x3000], 0x83      PD: 2 MiB from 0
                0x83, 0x00, 0x00, 0x00,
    0xb8, 0x00, 0x10, 0x00, 0x00,                   // mov eax, 0x1000
    0x0f, 0x22, 0xd8,                               // mov cr3, eax
    0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20,             // mov eax, cr4; or eax, 0x20    PAE
    0x0f, 0x22, 0xe0,                               // mov cr4, eax
    0xb9, 0x80, 0x00, 0x00, 0xc0,                   // mov ecx, 0xc0000080           EFER
    0x0f, 0x32, 0x0d, 0x00, 0x01, 0x00, 0x00,       // rdmsr; or eax, 0x100          LME
    0x0f, 0x30,                                     // wrmsr
    0x0f, 0x20, 0xc0, 0x0d, 0x00, 0x00, 0x00, 0x80, // mov eax, cr0; or eax, 1 << 31 paging
    0x0f, 0x22, 0xc0,                               // mov cr0, eax
    0xea, 0x84, 0xf0, 0x0f, 0x00, 0x18, 0x00,       // jmp 0x18:0xff084
];

/// Offset 0x84. A hundred thousand rounds, each through memory; the sum is what [`tests::sum`] computes.
#[rustfmt::skip]
const LONG_MODE: &[u8] = &[
    0x48, 0xb8, 0xef, 0xcd, 0xab, 0x89,             // mov rax, 0x0123456789abcdef
                0x67, 0x45, 0x23, 0x01,
    0xb9, 0xa0, 0x86, 0x01, 0x00,                   // mov ecx, 100000
    0x48, 0xc1, 0xc0, 0x07,                         // round: rol rax, 7
    0x48, 0x01, 0xc8,                               // add rax, rcx
    0x48, 0x89, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00, // mov [0x5000], rax
    0x48, 0x8b, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00, // mov rax, [0x5000]
    0xff, 0xc9, 0x75, 0xe5,                         // dec ecx; jnz round
    0x48, 0xbb, 0x53, 0x34, 0x57, 0x39,             // mov rbx, the sum
                0x79, 0x93, 0xd0, 0x7d,
    0x48, 0x39, 0xd8,                               // cmp rax, rbx
    0xb0, DONE, 0x74, 0x02,                         // mov al, DONE; je report
    0xb0, WRONG,                                    // mov al, WRONG
];

/// Offset 0xc1; the same bytes mean the same with 32 and with 64 bits.
#[rustfmt::skip]
const REPORT: &[u8] = &[
    0x66, 0xba, 0xf4, 0x00,                         // mov dx, PORT
    0xee,                                           // out dx, al
    0xf4, 0xeb, 0xfd,                               // stop: hlt; jmp stop
    0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00,       // nop, up to a multiple of 8
];

/// Offset 0xd0: null, 32-bit code, data, 64-bit code, all from 0 to the end; at 0xf0 their length and place.
#[rustfmt::skip]
const DESCRIPTORS: &[u8] = &[
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xaf, 0x00,
    0x1f, 0x00, 0xd0, 0xf0, 0x0f, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sum() -> u64 {
        (1..=100_000u64).rev().fold(0x0123_4567_89ab_cdef, |sum: u64, round| sum.rotate_left(7).wrapping_add(round))
    }

    #[test]
    fn parts_sit_where_they_point() {
        let offsets = [REAL_MODE, PROTECTED_MODE, LONG_MODE, REPORT, DESCRIPTORS].map(<[u8]>::len);
        assert_eq!(offsets, [0x18, 0x84 - 0x18, 0xc1 - 0x84, 0xd0 - 0xc1, 0x26]);
        let code = code();
        assert!(CODE_AT + code.len() <= RESET_AT);
        assert!(code.windows(8).any(|bytes| bytes == sum().to_le_bytes()));
        assert_eq!(REPORT[2..4], PORT.to_le_bytes());
    }

    #[test]
    fn reports_are_told_from_other_exits() {
        assert_eq!(Report::of(85), Report::Executed);
        assert_eq!(Report::of(43), Report::Executed);
        assert_eq!(Report::of(45), Report::Miscalculated);
        for code in [0, 1, 42, 255] {
            assert_eq!(Report::of(code), Report::None);
        }
    }
}
