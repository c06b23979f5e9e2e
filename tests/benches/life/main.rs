//! The life of many guests: what an operation costs beside the QMP round trips that it needs, what a stuck guest costs the others,
//! and many starts at once beside as many bare QEMUs.
//!
//! - *operations*: 40 paused guests of ours and 40 bare QEMUs with the same argv, in interleaved rounds; a bare one is sent exactly the
//!   commands that QEMU has to be told, one after the other, over a connection that stays open.
//! - *faults*: the same 40 guests, with and without 5 of them stopped by SIGSTOP; list, statistics and operations of the others.
//! - *starts*: 50 guests from 8 connections, 50 bare QEMUs from 8 threads.
//!
//! Nothing is written down of an operation that ours would not write down for a user: durable writes are on.

mod faults;
mod operations;
mod starts;

use std::{path::Path, time::Duration};

use polyvirt::{Connection, Guest};
use polyvirt_tests::{connect, no_qemu, root};

/// How many guests there are.
const GUESTS: usize = 40;

/// A guest that is small, and has what the operations need: a disk, a card, a balloon.
fn definition(name: &str, disk: &Path) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu placement='auto'>1</vcpu>
         <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
         <devices>
           <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>
           <interface type='user'><model type='virtio'/></interface><serial type='pty'/><memballoon model='virtio'/>
         </devices></domain>",
        disk.display()
    )
}

/// A small image.
fn image(path: &Path) {
    std::fs::File::create(path).and_then(|f| f.set_len(1 << 20)).expect("an image");
}

/// Starts so many guests, paused.
async fn many(connection: &Connection, dir: &Path, count: usize) -> Vec<Guest> {
    let mut guests = Vec::new();
    for at in 0..count {
        let disk = dir.join(format!("{at}.img"));
        image(&disk);
        let defined = connection.define(&definition(&format!("guest{at}"), &disk)).await;
        let guest = defined.unwrap_or_else(|error| panic!("{error}")).guest;
        guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
        guests.push(guest);
    }
    guests
}

/// Milliseconds.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value below which this part of all values lies.
fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "few values"
    )]
    let at = ((values.len() as f64 - 1.0) * part).round() as usize;
    values[at]
}

fn main() {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let dir = root();
        let connection = connect("qemu", dir.path(), |_| {}).await;
        let guests = many(&connection, dir.path(), GUESTS).await;
        operations::compare(&connection, &guests, dir.path()).await;
        faults::compare(&connection, &guests).await;
        for guest in &guests {
            guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
        }
        starts::compare(dir.path()).await;
    });
}
