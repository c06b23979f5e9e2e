//! `schedinfo`, `blkiotune`.

use polyvirt::{
    SchedulerParams, block_weights,
    model::tuning::{BlkioDevice, BlkioTune},
};
use serde_json::{Map, Value};

use super::{
    Done,
    sizes::bytes,
    tune::{affect, config_of},
};
use crate::{
    args::{BlkiotuneArgs, SchedinfoArgs},
    failure::Failure,
    output::Output,
    session::Session,
};

/// The values under virsh's names; what is not said is 0.
fn values(of: &SchedulerParams) -> [(&'static str, i64); 9] {
    let count = |it: Option<u64>| it.and_then(|it| i64::try_from(it).ok()).unwrap_or(0);
    let quota = |it: Option<i64>| it.unwrap_or(0);
    [
        ("cpu_shares", count(of.shares)),
        ("vcpu_period", count(of.vcpu.period)),
        ("vcpu_quota", quota(of.vcpu.quota)),
        ("emulator_period", count(of.emulator.period)),
        ("emulator_quota", quota(of.emulator.quota)),
        ("global_period", count(of.global.period)),
        ("global_quota", quota(of.global.quota)),
        ("iothread_period", count(of.io_thread.period)),
        ("iothread_quota", quota(of.io_thread.quota)),
    ]
}

/// Writes a value as it was given into a change.
fn assign(change: &mut SchedulerParams, said: &str) -> Result<(), Failure> {
    let shown: String = said.chars().take(80).collect();
    let (name, value) = said
        .split_once('=')
        .ok_or_else(|| Failure::argument(format!("'{shown}' is no NAME=VALUE, such as cpu_shares=512")))?;
    let quota = match name {
        "vcpu_quota" => Some(&mut change.vcpu.quota),
        "emulator_quota" => Some(&mut change.emulator.quota),
        "global_quota" => Some(&mut change.global.quota),
        "iothread_quota" => Some(&mut change.io_thread.quota),
        _ => None,
    };
    if let Some(quota) = quota {
        *quota = Some(value.parse().map_err(|_| Failure::argument(format!("{shown}: a quota is a number")))?);
        return Ok(());
    }
    let count = match name {
        "cpu_shares" => &mut change.shares,
        "vcpu_period" => &mut change.vcpu.period,
        "emulator_period" => &mut change.emulator.period,
        "global_period" => &mut change.global.period,
        "iothread_period" => &mut change.io_thread.period,
        _ => {
            let names = values(&SchedulerParams::default()).map(|(name, _)| name).join(", ");
            return Err(Failure::argument(format!("'{shown}': there is no such parameter; there are {names}")));
        }
    };
    *count = Some(value.parse().map_err(|_| Failure::argument(format!("{shown}: it is a number from 0 on")))?);
    Ok(())
}

pub(super) async fn schedinfo(args: &SchedinfoArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let mut change = SchedulerParams::default();
    for said in args.values.iter().chain(&args.set) {
        assign(&mut change, said)?;
    }
    if !change.is_empty() {
        guest.set_scheduler(change, affect(args.affect)).await?;
    }
    let all = values(&SchedulerParams::of(&*config_of(&guest, args.affect).await?));
    if out.json {
        let all = all.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        out.json(&std::iter::once(("scheduler".to_owned(), "posix".into())).chain(all).collect::<Map<_, Value>>());
        return Ok(());
    }
    out.line(&format!("{:<15}: posix", "Scheduler"));
    for (name, value) in all {
        out.line(&format!("{name:<15}: {value}"));
    }
    Ok(())
}

type Setter = fn(&mut BlkioDevice, u64) -> Result<(), std::num::TryFromIntError>;
type Getter = fn(&BlkioDevice) -> Option<u64>;

/// What can be said of a device, under virsh's names.
const OF_DEVICES: [(&str, Getter, Setter); 5] = [
    ("device_weight", |it| it.weight.map(u64::from), |it, n| n.try_into().map(|n| it.weight = Some(n))),
    (
        "device_read_iops_sec",
        |it| it.read_iops_sec.map(u64::from),
        |it, n| n.try_into().map(|n| it.read_iops_sec = Some(n)),
    ),
    (
        "device_write_iops_sec",
        |it| it.write_iops_sec.map(u64::from),
        |it, n| n.try_into().map(|n| it.write_iops_sec = Some(n)),
    ),
    (
        "device_read_bytes_sec",
        |it| it.read_bytes_sec,
        |it, n| {
            it.read_bytes_sec = Some(n);
            Ok(())
        },
    ),
    (
        "device_write_bytes_sec",
        |it| it.write_bytes_sec,
        |it, n| {
            it.write_bytes_sec = Some(n);
            Ok(())
        },
    ),
];

/// Reads `/dev/sda,300,/dev/sdb,500`.
fn devices(change: &mut BlkioTune, text: &str, set: Setter) -> Result<(), Failure> {
    let words: Vec<&str> = text.split(',').collect();
    let (pairs, []) = words.as_chunks::<2>() else {
        let shown: String = text.chars().take(80).collect();
        return Err(Failure::argument(format!("'{shown}' is no list of devices and values, such as /dev/sda,300")));
    };
    for [path, value] in pairs {
        let number = bytes(value, 1)?;
        let at = change.device.iter().position(|it| it.path == *path).unwrap_or_else(|| {
            let mut device = BlkioDevice::default();
            (*path).clone_into(&mut device.path);
            change.device.push(device);
            change.device.len() - 1
        });
        set(&mut change.device[at], number).map_err(|_| {
            Failure::argument(format!("{path}: {number} is more than can be said, {} at most", u32::MAX))
        })?;
    }
    Ok(())
}

pub(super) async fn blkiotune(args: &BlkiotuneArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let mut change = BlkioTune::default();
    change.weight = args.weight;
    let said = [
        &args.device_weights,
        &args.device_read_iops_sec,
        &args.device_write_iops_sec,
        &args.device_read_bytes_sec,
        &args.device_write_bytes_sec,
    ];
    for (text, (_, _, set)) in said.into_iter().zip(OF_DEVICES) {
        if let Some(text) = text {
            devices(&mut change, text, set)?;
        }
    }
    if change != BlkioTune::default() {
        guest.set_block_weights(change, affect(args.affect)).await?;
        out.done("");
        return Ok(());
    }
    let tune = block_weights(&*config_of(&guest, args.affect).await?);
    let listed = |get: Getter| {
        let pairs = tune.device.iter().filter_map(|it| Some(format!("{},{}", it.path, get(it)?)));
        pairs.collect::<Vec<_>>().join(",")
    };
    if out.json {
        let all = OF_DEVICES.iter().map(|(name, get, _)| ((*name).to_owned(), listed(*get).into()));
        let weight = ("weight".to_owned(), tune.weight.into());
        out.json(&std::iter::once(weight).chain(all).collect::<Map<_, Value>>());
        return Ok(());
    }
    out.line(&format!("{:<15}: {}", "weight", tune.weight.unwrap_or(0)));
    for (name, get, _) in OF_DEVICES {
        out.line(&format!("{name:<15}: {}", listed(get)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_names() {
        let mut change = SchedulerParams::default();
        for said in ["cpu_shares=512", "vcpu_quota=-1", "iothread_period=0"] {
            assign(&mut change, said).unwrap();
        }
        assert_eq!((change.shares, change.vcpu.quota, change.io_thread.period), (Some(512), Some(-1), Some(0)));
        for wrong in ["", "cpu_shares", "weight=1", "cpu_shares=-1", "vcpu_quota=x"] {
            assert!(assign(&mut change, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_devices() {
        let mut change = BlkioTune::default();
        devices(&mut change, "/dev/a,300,/dev/b,5", OF_DEVICES[0].2).unwrap();
        devices(&mut change, "/dev/b,2M", OF_DEVICES[3].2).unwrap();
        assert_eq!((change.device.len(), change.device[1].read_bytes_sec), (2, Some(2 << 20)));
        for wrong in ["", "/dev/a", "/dev/a,x", "/dev/a,1,/dev/b", "/dev/a,99999999999"] {
            assert!(devices(&mut change, wrong, OF_DEVICES[0].2).is_err(), "{wrong}");
        }
    }
}
