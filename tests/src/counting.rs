//! A guest that counts: each line on its serial port is one more than the one before, from 1 at every boot.

use std::{path::Path, time::Duration};

use polyvirt::{ByteStream, Guest};
use tokio::io::AsyncReadExt as _;

/// Generous: the machine may be busy.
const WITHIN: Duration = Duration::from_secs(60);

/// A boot sector: counts in memory, and writes each number as eight digits from `a` (0) to `p` (15) and a line end to COM1.
#[rustfmt::skip]
const BOOT_SECTOR: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c,       // cli; xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7c00
    0x66, 0xc7, 0x06, 0x00, 0x7e, 0x00, 0x00, 0x00, 0x00,             // mov dword [0x7e00], 0
    0x66, 0xff, 0x06, 0x00, 0x7e, 0x66, 0x8b, 0x1e, 0x00, 0x7e,       // next: inc dword [0x7e00]; mov ebx, [0x7e00]
    0xb9, 0x08, 0x00,                                                 // mov cx, 8
    0x66, 0xc1, 0xc3, 0x04, 0x88, 0xd8, 0x24, 0x0f, 0x04, b'a',       // digit: rol ebx, 4; mov al, bl; and al, 15; add al, 'a'
    0xe8, 0x13, 0x00, 0xe2, 0xf1,                                     // call put; loop digit
    0xb0, b'\n', 0xe8, 0x0c, 0x00,                                    // mov al, '\n'; call put
    0x66, 0xb9, 0x00, 0x00, 0x04, 0x00, 0x66, 0x49, 0x75, 0xfc,       // mov ecx, 0x40000; wait: dec ecx; jnz wait
    0xeb, 0xd3,                                                       // jmp next
    0x88, 0xc4, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb,       // put: mov ah, al; mov dx, 0x3fd; busy: in al, dx; test al, 0x20; jz busy
    0xba, 0xf8, 0x03, 0x88, 0xe0, 0xee, 0xc3,                         // mov dx, 0x3f8; mov al, ah; out dx, al; ret
];

/// Its definition, with a disk that is made in the directory.
///
/// # Panics
/// When the disk cannot be made.
#[must_use]
pub fn counting_guest(name: &str, directory: &Path) -> String {
    let disk = directory.join(format!("{name}.raw"));
    let mut bytes = vec![0; 1 << 20];
    bytes[..BOOT_SECTOR.len()].copy_from_slice(BOOT_SECTOR);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&disk, bytes).expect("a disk");
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu placement='auto'>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><source file='{}'/><target dev='vda' bus='virtio'/></disk>
    <serial type='pty'/>
  </devices>
</domain>",
        disk.display()
    )
}

/// The number that a guest counted to, from its memory. Nobody holds its monitor after that.
///
/// # Panics
/// When QEMU does not tell.
pub async fn counter(root: &Path, guest: &Guest) -> u32 {
    guest.release().await.expect("released");
    let monitor = crate::monitor_of(root, guest.name());
    let (monitor, _events) = polyvirt_qmp::Monitor::connect(&monitor, WITHIN).await.expect("the monitor is free");
    let question = serde_json::json!({ "command-line": "xp /1wx 0x7e00" });
    let told = monitor.execute_raw("human-monitor-command", &question, WITHIN).await.expect("an answer").to_string();
    let number = told.split_once(": 0x").and_then(|(_, rest)| rest.get(..8)).expect("a word of memory");
    u32::from_str_radix(number, 16).expect("a number")
}

/// The next whole number that a guest writes.
///
/// # Panics
/// When it writes none.
pub async fn next_number(guest: &Guest) -> u32 {
    let console = guest.console(None).await.expect("its console");
    tokio::time::timeout(WITHIN, read_number(console)).await.expect("the guest counts")
}

async fn read_number(mut console: ByteStream) -> u32 {
    let mut line = String::new();
    let mut begun = false;
    loop {
        match console.read_u8().await.expect("the console goes on") {
            b'\n' if begun && line.len() == 8 && line.bytes().all(|it| (b'a'..=b'p').contains(&it)) => {
                return line.bytes().fold(0, |number, digit| number << 4 | u32::from(digit - b'a'));
            }
            b'\n' => {
                begun = true;
                line.clear();
            }
            b'\r' => {}
            other => line.push(char::from(other)),
        }
    }
}
