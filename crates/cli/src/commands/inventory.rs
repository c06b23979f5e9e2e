//! `domblklist`, `domiflist`, `domblkinfo`, `domblkerror`: what disks and cards a guest has, how large, in which state.

use std::sync::Arc;

use polyvirt::{
    BlockSizes, Error, ErrorKind, Guest,
    model::{DomainConfig, disk::Disk, interface::Interface},
};

use super::Done;
use crate::{
    args::{DomblkinfoArgs, DomblklistArgs, DomiflistArgs, Which},
    failure::Failure,
    output::Output,
    render,
    session::Session,
};

/// The definition to list: of what runs, unless the stored one is wanted.
async fn definition(guest: &Guest, stored: bool) -> Result<Arc<DomainConfig>, Failure> {
    let view = guest.view().await?;
    let found = if stored { view.stored } else { view.live.map(Arc::new).or(view.stored) };
    found.ok_or_else(|| {
        let message = format!("the guest '{}' has no stored definition", guest.name());
        Failure::Error(Error::new(ErrorKind::NotFound, message).hint("it is transient: leave --inactive out"))
    })
}

fn or_dash(text: Option<String>) -> String {
    text.filter(|it| !it.is_empty()).unwrap_or_else(|| "-".to_owned())
}

fn target(disk: &Disk) -> String {
    or_dash(disk.target.as_ref().map(|it| it.dev.clone()))
}

/// What virsh shows as a source: file, device, folder, or the name of what is elsewhere.
fn disk_source(disk: &Disk) -> Option<String> {
    let source = disk.source.as_ref()?;
    let all = [&source.file, &source.dev, &source.dir, &source.name, &source.volume];
    all.into_iter().flatten().next().cloned()
}

pub(super) async fn domblklist(args: DomblklistArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let config = definition(&guest, args.inactive).await?;
    let row = |disk: &Disk| {
        let kind = disk.kind.map_or_else(|| "file".to_owned(), |it| it.to_string());
        let device = disk.device.map_or_else(|| "disk".to_owned(), |it| it.to_string());
        [kind, device, target(disk), or_dash(disk_source(disk))]
    };
    let rows: Vec<_> = config.devices.disks.iter().map(row).collect();
    if out.json {
        let document: Vec<_> = rows
            .iter()
            .zip(&config.devices.disks)
            .map(|([kind, device, target, _], disk)| {
                serde_json::json!({"type": kind, "device": device, "target": target, "source": disk_source(disk)})
            })
            .collect();
        out.json(&document);
        return Ok(());
    }
    let skipped = if args.details { 0 } else { 2 };
    let mut table = render::table(&["Type", "Device", "Target", "Source"][skipped..]);
    for row in rows {
        table.add_row(&row[skipped..]);
    }
    out.line(&render::table_text(&table));
    Ok(())
}

pub(super) async fn domiflist(args: DomiflistArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let config = definition(&guest, args.inactive).await?;
    let row = |card: &Interface| {
        let source = card.source.as_ref();
        let source = source.and_then(|it| [&it.bridge, &it.dev, &it.network, &it.name].into_iter().flatten().next());
        [
            card.target.as_ref().and_then(|it| it.dev.clone()),
            card.kind.map(|it| it.to_string()),
            source.cloned(),
            card.model.as_ref().map(|it| it.kind.to_string()),
            card.mac.as_ref().map(|it| it.address.to_string()),
        ]
    };
    let rows: Vec<_> = config.devices.interfaces.iter().map(row).collect();
    if out.json {
        let document: Vec<_> = rows
            .iter()
            .map(|[device, kind, source, model, mac]| {
                serde_json::json!({"interface": device, "type": kind, "source": source, "model": model, "mac": mac})
            })
            .collect();
        out.json(&document);
        return Ok(());
    }
    let mut table = render::table(&["Interface", "Type", "Source", "Model", "MAC"]);
    for row in rows {
        table.add_row(row.map(or_dash));
    }
    out.line(&render::table_text(&table));
    Ok(())
}

pub(super) async fn domblkinfo(args: DomblkinfoArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    if let Some(disk) = args.device.as_ref().filter(|_| !args.all) {
        let sizes = guest.block_sizes(disk).await?;
        if out.json {
            out.json(&sizes);
            return Ok(());
        }
        for (name, size) in fields(&sizes) {
            out.line(&format!("{:<15} {}", format!("{name}:"), shown(size, args.human)));
        }
        return Ok(());
    }
    let config = definition(&guest, false).await?;
    let mut told = Vec::new();
    for disk in &config.devices.disks {
        let target = target(disk);
        let sizes = match guest.block_sizes(&target).await {
            Ok(sizes) => Some(sizes),
            Err(error) => {
                // An empty drive has no size, and that is no news.
                if error.kind() != ErrorKind::NotFound {
                    out.warning(&format!("{target}: {error}"));
                }
                None
            }
        };
        told.push((target, sizes));
    }
    if out.json {
        out.json(&told.into_iter().collect::<std::collections::BTreeMap<_, _>>());
        return Ok(());
    }
    let mut table = render::table(&["Target", "Capacity", "Allocation", "Physical"]);
    for (target, sizes) in told {
        let cell = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), |it| shown(it, args.human));
        let [capacity, allocation, physical] = [0, 1, 2].map(|at| cell(sizes.map(|it| fields(&it)[at].1)));
        table.add_row([target, capacity, allocation, physical]);
    }
    out.line(&render::table_text(&table));
    Ok(())
}

fn fields(sizes: &BlockSizes) -> [(&'static str, u64); 3] {
    [("Capacity", sizes.capacity), ("Allocation", sizes.allocation), ("Physical", sizes.physical)]
}

/// Bytes, or for people with three digits and a unit, as virsh has it.
fn shown(size: u64, human: bool) -> String {
    if !human {
        return size.to_string();
    }
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let step = (0..UNITS.len() - 1).take_while(|step| size >> (10 * step) >= 1024).count();
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let scaled = size as f64 / (1_u64 << (10 * step)) as f64;
    format!("{scaled:.3} {}", UNITS[step])
}

pub(super) async fn domblkerror(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let errors = session.guest(&which.domain).await?.disk_errors().await?;
    if out.json {
        out.json(&errors.iter().map(|(disk, error)| (disk, error)).collect::<std::collections::BTreeMap<_, _>>());
        return Ok(());
    }
    if errors.is_empty() {
        out.line("No errors found");
    }
    for (disk, error) in errors {
        out.line(&format!("{disk}: {}", error.name()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn sizes_for_people() {
        for (size, text) in [
            (0, "0.000 B"),
            (1023, "1023.000 B"),
            (1536, "1.500 KiB"),
            (10 << 30, "10.000 GiB"),
            (u64::MAX, "16.000 EiB"),
        ] {
            assert_eq!(shown(size, true), text);
        }
        assert_eq!(shown(1536, false), "1536");
    }
}
