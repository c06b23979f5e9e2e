//! Looking at a guest, typing, poking, and what the guest does by itself.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use polyvirt_core::{
    ByteStream, CodeSet, ErrorKind, GuestState, ImageFormat, KeyPress, LiveConfig, Notice, Screenshot, Settings, Signal,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use crate::host::{Guest, Host, WITHIN, expect};

/// A boot sector: sets the clock, says "hi", then says what comes from the keyboard, a byte as two letters of "a" to "p", and "N" for an
/// NMI. The scan code of "s" puts the machine to sleep (the PM1a control port of QEMU's PCs, sleep type 1).
#[rustfmt::skip]
const BOOT_SECTOR: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, // cli; xor ax, ax; mov ds, ax; mov ss, ax
    0xbc, 0x00, 0x7c,                         // mov sp, 0x7c00
    0xc7, 0x06, 0x08, 0x00, 0x54, 0x7c,       // mov word [8], nmi: vector 2
    0xa3, 0x0a, 0x00,                         // mov [10], ax
    0xb0, 0x02, 0xe6, 0x70,                   // mov al, 2; out 0x70, al: the minutes
    0xb0, 0x05, 0xe6, 0x71,                   // mov al, 5; out 0x71, al
    0xb0, b'h', 0xe8, 0x3e, 0x00,             // mov al, 'h'; call say
    0xb0, b'i', 0xe8, 0x39, 0x00,             // mov al, 'i'; call say
    0xb0, b'\n', 0xe8, 0x34, 0x00,            // mov al, '\n'; call say
    0xe4, 0x64, 0xa8, 0x01, 0x74, 0xfa,       // wait: in al, 0x64; test al, 1; jz wait
    0xe4, 0x60, 0x3c, 0x1f, 0x74, 0x15,       // in al, 0x60; cmp al, 0x1f; je sleep
    0x88, 0xc3, 0xc0, 0xe8, 0x04,             // mov bl, al; shr al, 4
    0x04, b'a', 0xe8, 0x1e, 0x00,             // add al, 'a'; call say
    0x88, 0xd8, 0x24, 0x0f,                   // mov al, bl; and al, 15
    0x04, b'a', 0xe8, 0x15, 0x00,             // add al, 'a'; call say
    0xeb, 0xdf,                               // jmp wait
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x24, 0xef, // sleep: mov dx, 0x604; mov ax, 0x2400; out dx, ax
    0xeb, 0xd6,                               // jmp wait
    0x50, 0x52, 0xb0, b'N',                   // nmi: push ax; push dx; mov al, 'N'
    0xe8, 0x03, 0x00, 0x5a, 0x58, 0xcf,       // call say; pop dx; pop ax; iret
    0xba, 0xf8, 0x03, 0xee, 0xc3,             // say: mov dx, 0x3f8; out dx, al; ret
];

/// Runs and has said that it does.
async fn listening(host: &Host, live: &LiveConfig) -> (Guest, ByteStream) {
    let mut sector = BOOT_SECTOR.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    std::fs::write(host.directory.path().join("disk.raw"), sector).unwrap();
    let guest = host.start(live, true).await;
    let mut console = guest.console().await;
    guest.domain.pause().unwrap().resume().await.unwrap();
    expect(&mut console, "hi\n").await;
    (guest, console)
}

fn press(set: CodeSet, keys: &[&str]) -> KeyPress {
    let keys = keys.iter().map(|it| set.key(it).unwrap()).collect();
    KeyPress::new(keys, Some(Duration::from_millis(1))).unwrap()
}

/// The signal that is wanted; others may come before.
async fn wanted(guest: &mut Guest, signal: &Signal) {
    while guest.signal().await != *signal {}
}

/// Width and height, from the first chunk of a PNG (PNG specification, 11.2.2).
fn size(shot: &Screenshot) -> (u32, u32) {
    assert_eq!(shot.format, ImageFormat::Png);
    assert_eq!(&shot.bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(shot.bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[tokio::test]
async fn screens_are_pictures_of_their_size() {
    // QEMU's user may be another than ours: it writes the pictures, we read and remove them.
    let mut settings = Settings::default();
    if nix::unistd::Uid::effective().is_root() {
        settings.set("user", "nobody");
    }
    let Some(host) = Host::with(settings).await else { return };
    let cards = "<video><model type='vga'/></video><video><model type='bochs'/></video>";
    let live = host.define("<memory unit='MiB'>32</memory>", cards).await;
    for (path, mode) in [(host.directory.path().to_owned(), 0o755), (host.directory.path().join("disk.raw"), 0o666)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let (guest, _console) = listening(&host, &live).await;
    let screen = guest.domain.screen().unwrap();
    // The VGA's text mode; what nothing was drawn on yet.
    assert_eq!(size(&screen.shot(0).await.unwrap()), (720, 400));
    guest.domain.pause().unwrap().suspend().await.unwrap();
    assert_eq!(size(&screen.shot(0).await.unwrap()), (720, 400), "a paused guest can be looked at");
    assert!(size(&screen.shot(1).await.unwrap()).0 >= 640);
    let error = screen.shot(2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("only 2"), "{error}");
    let folder = std::fs::read_dir(&host.roots.run).unwrap().next().unwrap().unwrap().path();
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["monitor"], "pictures are removed");
    guest.destroy().await;
    host.assert_nothing_left();
}

#[tokio::test]
async fn keys_and_nmis_reach_the_guest() {
    let Some(host) = Host::new().await else { return };
    let live = host.plain().await;
    let (guest, mut console) = listening(&host, &live).await;
    let keyboard = guest.domain.keyboard().unwrap();
    // Set 1: pressed 1e, let go 9e; the right Control has the prefix e0. Every code set says the same.
    keyboard.send(&press(CodeSet::Linux, &["KEY_A"])).await.unwrap();
    expect(&mut console, "bojo").await;
    for (set, key) in
        [(CodeSet::Linux, "KEY_RIGHTCTRL"), (CodeSet::Xt, "0xe01d"), (CodeSet::Usb, "0xe4"), (CodeSet::Qnum, "0x9d")]
    {
        keyboard.send(&press(set, &[key])).await.unwrap();
        expect(&mut console, "oabnoajn").await;
    }
    // Together: both pressed before any is let go.
    keyboard.send(&press(CodeSet::Linux, &["KEY_LEFTSHIFT", "KEY_B"])).await.unwrap();
    expect(&mut console, "ckda").await;
    guest.domain.nmi().unwrap().inject().await.unwrap();
    expect(&mut console, "N").await;
    guest.domain.pause().unwrap().suspend().await.unwrap();
    let error = keyboard.send(&press(CodeSet::Linux, &["KEY_A"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    guest.destroy().await;
    host.assert_nothing_left();
}

#[tokio::test]
async fn a_set_clock_and_a_sleep_are_told() {
    let Some(host) = Host::new().await else { return };
    let (live, socket) = with_second_monitor(&host, "").await;
    let (mut guest, _console) = listening(&host, &live).await;
    assert_eq!(guest.signal().await, Signal::Resumed);
    match guest.signal().await {
        Signal::Noticed(noticed) => assert!(matches!(noticed.notice, Notice::ClockChanged { .. }), "{noticed:?}"),
        other => panic!("{other:?}"),
    }
    let keyboard = guest.domain.keyboard().unwrap();
    // Letting it go would wake the guest.
    let hold = KeyPress::new(vec![CodeSet::Linux.key("KEY_S").unwrap()], Some(KeyPress::HOLD)).unwrap();
    keyboard.send(&hold).await.unwrap();
    wanted(&mut guest, &Signal::Asleep).await;
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::PmSuspended);
    by_hand(&socket, "{\"execute\": \"system_wakeup\"}").await;
    wanted(&mut guest, &Signal::Woken).await;
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::Running);
    guest.destroy().await;
    host.assert_nothing_left();
}

/// A guest with a monitor of the user's beside ours: QEMU tells its events to both.
async fn with_second_monitor(host: &Host, devices: &str) -> (LiveConfig, PathBuf) {
    let socket = host.directory.path().join("second");
    let more = format!(
        "<memory unit='MiB'>32</memory><qemu:commandline><qemu:arg value='-qmp'/>\
         <qemu:arg value='unix:{},server=on,wait=off'/></qemu:commandline>",
        socket.display()
    );
    (host.define(&more, devices).await, socket)
}

/// A command on that monitor.
async fn by_hand(path: &Path, command: &str) {
    let mut stream = BufReader::new(UnixStream::connect(path).await.unwrap());
    let mut answers = 0;
    let talking = async {
        let text = format!("{{\"execute\": \"qmp_capabilities\"}}\n{command}\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        while answers < 2 {
            let mut line = String::new();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "the monitor ended");
            assert!(!line.contains("\"error\""), "{line}");
            answers += usize::from(line.contains("\"return\""));
        }
    };
    tokio::time::timeout(WITHIN, talking).await.expect("an answer");
}

#[tokio::test]
async fn a_device_that_goes_is_told() {
    let Some(host) = Host::new().await else { return };
    let tablet = "<input type='tablet' bus='usb'><alias name='ua-tablet'/></input>";
    let (live, socket) = with_second_monitor(&host, tablet).await;
    let mut guest = host.start(&live, true).await;
    by_hand(&socket, "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"ua-tablet\"}}").await;
    assert_eq!(guest.signal().await, Signal::DeviceRemoved("ua-tablet".into()));
    guest.destroy().await;
    host.assert_nothing_left();
}
