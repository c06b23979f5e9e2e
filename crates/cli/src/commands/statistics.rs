//! `domstats` and the commands that tell one group of numbers: `domblkstat`, `domifstat`, `dommemstat`, `cpu-stats`.

use std::{collections::BTreeMap, time::Duration};

use polyvirt::{
    BlockNumbers, DirtyRateOptions, Error, ErrorKind, GuestEntry, GuestState, GuestStatistics, IoNumbers, StatValue,
    StatsGroup, StatsQuery, StatsRecord,
};

use super::{Done, life::tell, tune};
use crate::{
    args::{CpuStatsArgs, DirtyrateArgs, DomblkstatArgs, DomifstatArgs, DommemstatArgs, DomstatsArgs, ListArgs, Which},
    failure::Failure,
    output::Output,
    session::Session,
};

/// How long a guest may take with `--nowait`.
const AT_ONCE: Duration = Duration::from_millis(250);
/// How long a guest may take that is the only one to be asked.
const ALONE: Duration = Duration::from_secs(10);

pub(super) async fn domstats(args: DomstatsArgs, session: &mut Session, out: &mut Output) -> Done {
    let (groups, said) = args.groups.groups();
    let query = StatsQuery::new(groups).within(if args.nowait { AT_ONCE } else { args.timeout });
    let connection = session.connection().await?;
    let mut named = Vec::new();
    for key in &args.domains {
        named.push(connection.lookup(key).await?.name().to_owned());
    }
    let wanted =
        |guest: &GuestEntry| if named.is_empty() { listed(args.list, guest) } else { named.contains(&guest.name) };
    let told = connection.statistics(&query, wanted).await?;
    show(&told, &args, out);
    if args.enforce && said {
        enforce(&told, &query)?;
    }
    Ok(())
}

fn show(told: &[GuestStatistics], args: &DomstatsArgs, out: &mut Output) {
    if args.openmetrics {
        out.print(&polyvirt::open_metrics(told));
    } else if out.json {
        out.json(&told.iter().map(document).collect::<Vec<_>>());
    } else {
        for it in told {
            out.line(&format!("Domain: '{}'", it.guest.name));
            for (name, value) in it.numbers.fields() {
                out.line(&format!("  {name}={value}"));
            }
            out.line("");
        }
    }
    for it in told {
        // Groups that are missing for one reason have one line.
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (group, why) in &it.numbers.missing {
            reasons.entry(why).or_default().push(group.name());
        }
        for (why, groups) in reasons {
            out.warning(&format!("{}: no {}: {why}", it.guest.name, groups.join(", ")));
        }
    }
}

fn document(it: &GuestStatistics) -> serde_json::Value {
    let numbers: BTreeMap<String, StatValue> = it.numbers.fields().into_iter().collect();
    let missing: BTreeMap<&str, &String> = it.numbers.missing.iter().map(|(group, why)| (group.name(), why)).collect();
    serde_json::json!({
        "name": it.guest.name, "uuid": it.guest.uuid, "id": it.guest.id, "state": it.guest.state.name(),
        "stats": numbers, "missing": missing,
    })
}

/// Fails if a group is not there. A guest that does not run is not expected to have all.
fn enforce(told: &[GuestStatistics], query: &StatsQuery) -> Done {
    for it in told.iter().filter(|it| it.guest.state.is_active()) {
        let lacking = query.groups.without(it.numbers.present());
        if !lacking.is_empty() {
            let message = format!("the guest '{}' does not tell: {lacking}", it.guest.name);
            return Err(Failure::Error(
                Error::new(ErrorKind::Unsupported, message).hint("leave --enforce out to see what it tells"),
            ));
        }
    }
    Ok(())
}

fn listed(list: ListArgs, guest: &GuestEntry) -> bool {
    let any = |choices: &[(bool, bool)]| choices.iter().all(|it| !it.0) || choices.iter().any(|it| it.0 && it.1);
    let (active, state) = (guest.state.is_active(), &guest.state);
    let plain = [GuestState::Running, GuestState::Paused].contains(state) || !active;
    any(&[(list.list_active, active), (list.list_inactive, !active)])
        && any(&[(list.list_persistent, guest.persistent), (list.list_transient, !guest.persistent)])
        && any(&[
            (list.list_running, *state == GuestState::Running),
            (list.list_paused, *state == GuestState::Paused),
            (list.list_shutoff, !active),
            (list.list_other, !plain),
        ])
}

/// One group of a guest that runs.
async fn group(which: &Which, group: StatsGroup, session: &mut Session) -> Result<StatsRecord, Failure> {
    let guest = session.guest(&which.domain).await?;
    let told = guest.statistics(&StatsQuery::new(group.into()).within(ALONE)).await?;
    if !told.guest.state.is_active() {
        let message = format!("the guest '{}' does not run", guest.name());
        return Err(Failure::Error(Error::new(ErrorKind::InvalidState, message).hint("start it first")));
    }
    if told.numbers.present().contains(group) {
        return Ok(told.numbers);
    }
    let why = told.numbers.missing.get(&group).map_or("its driver does not tell", String::as_str);
    let message = format!("the guest '{}' has no numbers of its {group}: {why}", guest.name());
    Err(Failure::Error(Error::new(ErrorKind::Hypervisor, message)))
}

/// The numbers as one JSON object, else a line each.
fn numbers(prefix: &str, numbers: &[(&str, u64)], out: &mut Output) {
    if out.json {
        let document: serde_json::Map<_, _> =
            numbers.iter().map(|(name, number)| ((*name).to_owned(), (*number).into())).collect();
        return out.json(&document);
    }
    for (name, number) in numbers {
        out.line(&format!("{prefix}{name} {number}"));
    }
}

pub(super) async fn domblkstat(args: DomblkstatArgs, session: &mut Session, out: &mut Output) -> Done {
    let told = group(&args.which, StatsGroup::Block, session).await?;
    let disks = told.blocks.unwrap_or_default();
    let named = |disk: &&BlockNumbers| match &args.device {
        Some(name) => disk.target == *name || disk.path.as_ref() == Some(name),
        None => true,
    };
    let chosen: Vec<_> = disks.iter().filter(named).collect();
    if let (Some(name), true) = (&args.device, chosen.is_empty()) {
        let message = format!("the guest '{}' has no disk '{name}'", args.which.domain);
        let hint = format!("`polyvirt domblklist {}` shows them", args.which.domain);
        return Err(Failure::Error(Error::new(ErrorKind::NotFound, message).hint(hint)));
    }
    let sum = |kind: fn(&BlockNumbers) -> Option<IoNumbers>| {
        let all = chosen.iter().filter_map(|disk| kind(disk));
        all.fold(IoNumbers::default(), |sum, it| IoNumbers {
            requests: sum.requests.saturating_add(it.requests),
            bytes: sum.bytes.saturating_add(it.bytes),
            time: sum.time.saturating_add(it.time),
            failed: sum.failed.saturating_add(it.failed),
        })
    };
    let (read, written, flushed) = (sum(|it| it.read), sum(|it| it.written), sum(|it| it.flushed));
    let time = |it: IoNumbers| u64::try_from(it.time.as_nanos()).unwrap_or(u64::MAX);
    let fields = [
        ("rd_req", "number of read operations:", read.requests),
        ("rd_bytes", "number of bytes read:", read.bytes),
        ("wr_req", "number of write operations:", written.requests),
        ("wr_bytes", "number of bytes written:", written.bytes),
        ("flush_operations", "number of flush operations:", flushed.requests),
        ("rd_total_times", "total duration of reads (ns):", time(read)),
        ("wr_total_times", "total duration of writes (ns):", time(written)),
        ("flush_total_times", "total duration of flushes (ns):", time(flushed)),
    ];
    let device = args.device.as_deref().unwrap_or("");
    if args.human && !out.json {
        out.line(&format!("Device: {device}"));
        for (_, words, number) in fields {
            out.line(&format!(" {words:<31} {number}"));
        }
        return Ok(());
    }
    numbers(&format!("{device} "), &fields.map(|(name, _, number)| (name, number)), out);
    Ok(())
}

pub(super) async fn domifstat(args: DomifstatArgs, session: &mut Session, out: &mut Output) -> Done {
    let told = group(&args.which, StatsGroup::Interface, session).await?;
    let cards = told.interfaces.unwrap_or_default();
    let mac = args.interface.to_ascii_lowercase();
    let named = cards.iter().find(|it| it.device.as_ref() == Some(&args.interface) || it.mac.as_ref() == Some(&mac));
    let card = named.ok_or_else(|| {
        let message = format!("the guest '{}' has no network card '{}'", args.which.domain, args.interface);
        let hint = format!("`polyvirt domiflist {}` shows them", args.which.domain);
        Failure::Error(Error::new(ErrorKind::NotFound, message).hint(hint))
    })?;
    let it = card.traffic.ok_or_else(|| {
        let message = format!("nobody counts what goes through the card '{}'", args.interface);
        let hint = "cards with a device on the host (types bridge and ethernet) are counted by its kernel";
        Failure::Error(Error::new(ErrorKind::Unsupported, message).hint(hint))
    })?;
    let fields = [
        ("rx_bytes", it.rx_bytes),
        ("rx_packets", it.rx_packets),
        ("rx_errs", it.rx_errors),
        ("rx_drop", it.rx_dropped),
        ("tx_bytes", it.tx_bytes),
        ("tx_packets", it.tx_packets),
        ("tx_errs", it.tx_errors),
        ("tx_drop", it.tx_dropped),
    ];
    numbers(&format!("{} ", args.interface), &fields, out);
    Ok(())
}

pub(super) async fn dommemstat(args: DommemstatArgs, session: &mut Session, out: &mut Output) -> Done {
    if let Some(period) = args.period {
        let guest = session.guest(&args.which.domain).await?;
        guest.set_memory_polling(Duration::from_secs(period.into()), tune::affect(args.affect)).await?;
        return Ok(());
    }
    let told = group(&args.which, StatsGroup::Balloon, session).await?;
    let Some(it) = told.balloon else { return Ok(()) };
    let fields = [
        ("actual", Some(it.current.0)),
        ("swap_in", it.swap_in.map(|it| it.0)),
        ("swap_out", it.swap_out.map(|it| it.0)),
        ("major_fault", it.major_faults),
        ("minor_fault", it.minor_faults),
        ("unused", it.unused.map(|it| it.0)),
        ("available", it.available.map(|it| it.0)),
        ("usable", it.usable.map(|it| it.0)),
        ("last_update", it.last_update),
        ("disk_caches", it.disk_caches.map(|it| it.0)),
        ("hugetlb_pgalloc", it.huge_pages_got),
        ("hugetlb_pgfail", it.huge_pages_failed),
        ("rss", it.resident.map(|it| it.0)),
    ];
    let told: Vec<_> = fields.into_iter().filter_map(|(name, number)| Some((name, number?))).collect();
    numbers("", &told, out);
    Ok(())
}

pub(super) async fn cpu_stats(args: CpuStatsArgs, session: &mut Session, out: &mut Output) -> Done {
    let told = group(&args.which, StatsGroup::CpuTotal, session).await?;
    let Some(it) = told.cpu else { return Ok(()) };
    if !args.total {
        out.warning("what each CPU of the host did for a guest is not counted; this is the total");
    }
    let fields = [("cpu_time", it.total), ("user_time", it.user), ("system_time", it.system)];
    if out.json {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        numbers("", &fields.map(|(name, time)| (name, nanoseconds(time))), out);
        return Ok(());
    }
    out.line("Total:");
    for (name, time) in fields {
        out.line(&format!("\t{name:<12} {:>9}.{:09} seconds", time.as_secs(), time.subsec_nanos()));
    }
    Ok(())
}

pub(super) async fn dirtyrate(args: DirtyrateArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let period = Duration::from_secs(args.seconds.into());
    guest.measure_dirty_rate(DirtyRateOptions::new(period, args.mode.into())).await?;
    tell(&guest, "is being measured; `domstats --dirtyrate` tells the result", out);
    Ok(())
}
