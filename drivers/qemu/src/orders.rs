//! What QEMU is told over its monitor before the guest runs: what no command line can say, or must not show.

use polyvirt_core::{
    Error, Result,
    model::{
        DomainConfig,
        disk::{Disk, DiskBus, IoLimits},
        display::{ConnectedPolicy, DateTime, Graphics, GraphicsKind},
        misc::BalloonModel,
    },
};
use polyvirt_qmp::{Balloon, Command, Empty, Monitor, QmpError, SetAction, SetLink};
use serde::Serialize;

use crate::{
    command::{boot, disk, net},
    config::Config,
    domain::statistics,
    failure::monitor_error,
};

/// Gives all orders, each within the time that is left.
///
/// # Errors
/// The first that QEMU refuses, with what it was about.
pub(crate) async fn give(
    monitor: &Monitor,
    config: &DomainConfig,
    settings: &Config,
    within: impl Fn() -> std::time::Duration,
) -> Result<()> {
    // The command line only says that QEMU waits at power-off.
    let (reboot, shutdown, panic) = boot::actions(config);
    let actions = SetAction { reboot: Some(reboot), shutdown: Some(shutdown), panic: Some(panic), watchdog: None };
    monitor.execute(&actions, within()).await.map_err(|error| monitor_error(&error))?;
    if let Some(value) = balloon(config) {
        monitor.execute(&Balloon { value }, within()).await.map_err(refused("/domain/currentMemory".into()))?;
    }
    of_devices(monitor, config, |_| true, &within).await?;
    for (at, it) in config.devices.graphics.iter().enumerate() {
        let path = format!("/domain/devices/graphics[{}]/@passwd", at + 1);
        tell_password(monitor, it, settings, within()).await.map_err(refused(path))?;
    }
    Ok(())
}

/// Bytes that the guest shall make do with, where it has a balloon and they are not all it has.
fn balloon(config: &DomainConfig) -> Option<u64> {
    let model = config.devices.memballoon.as_ref()?.model;
    let current = config.current_memory.as_ref()?.size;
    let wanted = model != Some(BalloonModel::None) && !current.is_zero() && current < config.memory_total();
    wanted.then(|| current.0.saturating_mul(1024))
}

/// Tells a display's password, if it has one.
///
/// # Errors
/// What QEMU says.
pub(crate) async fn tell_password(
    monitor: &Monitor,
    display: &Graphics,
    settings: &Config,
    within: std::time::Duration,
) -> std::result::Result<(), QmpError> {
    let Some((password, until)) = password(display, settings) else { return Ok(()) };
    monitor.execute(&password, within).await?;
    monitor.execute(&until, within).await.map(drop)
}

/// Gives the orders that are about devices of such names.
///
/// # Errors
/// As [`give`].
pub(crate) async fn of_devices(
    monitor: &Monitor,
    config: &DomainConfig,
    which: impl Fn(&str) -> bool,
    within: impl Fn() -> std::time::Duration,
) -> Result<()> {
    for name in net::unplugged(config).filter(|it| which(it)) {
        let about = |error| Error::with(monitor_error(&error), "card", name);
        monitor.execute(&SetLink { name, up: false }, within()).await.map_err(about)?;
    }
    for (at, it) in config.devices.disks.iter().enumerate() {
        if !it.info.alias.as_ref().is_some_and(|it| which(&it.name)) {
            continue;
        }
        if let Some(order) = throttle(it) {
            let path = format!("/domain/devices/disk[{}]/iotune", at + 1);
            monitor.execute(&order, within()).await.map_err(refused(path))?;
        }
    }
    if let Some(balloon) = config.devices.memballoon.as_ref().filter(|it| it.model != Some(BalloonModel::None))
        && let Some(stats) = balloon.stats.as_ref().filter(|it| it.period > 0)
        && balloon.info.alias.as_ref().is_some_and(|it| which(&it.name))
    {
        let path = statistics::path_of(balloon);
        let order = statistics::polling(&path, stats.period.into());
        let at = "/domain/devices/memballoon/stats/@period".to_owned();
        monitor.execute(&order, within()).await.map_err(refused(at))?;
    }
    Ok(())
}

fn refused(path: String) -> impl FnOnce(QmpError) -> Error {
    move |error| monitor_error(&error).with("path", path)
}

/// `block_set_io_throttle`: the limits of a drive. What is 0 has none.
#[derive(Debug, PartialEq, Serialize)]
struct Throttle<'a> {
    id: String,
    bps: u64,
    bps_rd: u64,
    bps_wr: u64,
    iops: u64,
    iops_rd: u64,
    iops_wr: u64,
    #[serde(flatten)]
    bursts: Bursts,
    #[serde(skip_serializing_if = "Option::is_none")]
    iops_size: Option<u64>,
    /// Drives of one group share the limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
}

macro_rules! bursts {
    ($($name:ident)*) => {
        /// How much may be exceeded, and for how many seconds.
        #[derive(Debug, PartialEq, Serialize)]
        struct Bursts { $(#[serde(skip_serializing_if = "Option::is_none")] $name: Option<u64>,)* }
    };
}

bursts! {
    bps_max bps_rd_max bps_wr_max iops_max iops_rd_max iops_wr_max
    bps_max_length bps_rd_max_length bps_wr_max_length iops_max_length iops_rd_max_length iops_wr_max_length
}

impl Command for Throttle<'_> {
    const NAME: &'static str = "block_set_io_throttle";
    type Reply = Empty;
}

/// Tells the limits of a disk that runs, also that there are none; whether there is a medium to limit.
///
/// # Errors
/// What QEMU says.
pub(crate) async fn tell_limits(
    monitor: &Monitor,
    disk: &Disk,
    within: std::time::Duration,
) -> std::result::Result<bool, QmpError> {
    let mut disk = disk.clone();
    disk.iotune.get_or_insert_default();
    let Some(order) = throttle(&disk) else { return Ok(false) };
    monitor.execute(&order, within).await.map(|_| true)
}

fn throttle(disk: &Disk) -> Option<Throttle<'_>> {
    let limits = &disk.iotune.as_ref()?.limits;
    let name = &disk.info.alias.as_ref()?.name;
    // The part of the device that has the drive: of a virtio disk what is behind its transport, of a USB stick the disk inside.
    let id = match disk::disk_bus(disk) {
        DiskBus::Virtio => format!("/machine/peripheral/{name}/virtio-backend"),
        DiskBus::Usb => format!("/machine/peripheral/{name}/{name}.0/legacy[0]"),
        _ => name.clone(),
    };
    // A drive without a medium has nothing to limit, and QEMU says so.
    disk::is_full(disk).then(|| Throttle {
        id,
        bps: limits.total_bytes_sec.unwrap_or(0),
        bps_rd: limits.read_bytes_sec.unwrap_or(0),
        bps_wr: limits.write_bytes_sec.unwrap_or(0),
        iops: limits.total_iops_sec.unwrap_or(0),
        iops_rd: limits.read_iops_sec.unwrap_or(0),
        iops_wr: limits.write_iops_sec.unwrap_or(0),
        bursts: bursts(limits),
        iops_size: given(limits.size_iops_sec),
        group: limits.group_name.as_deref(),
    })
}

fn bursts(limits: &IoLimits) -> Bursts {
    Bursts {
        bps_max: given(limits.total_bytes_sec_max),
        bps_rd_max: given(limits.read_bytes_sec_max),
        bps_wr_max: given(limits.write_bytes_sec_max),
        iops_max: given(limits.total_iops_sec_max),
        iops_rd_max: given(limits.read_iops_sec_max),
        iops_wr_max: given(limits.write_iops_sec_max),
        bps_max_length: given(limits.total_bytes_sec_max_length),
        bps_rd_max_length: given(limits.read_bytes_sec_max_length),
        bps_wr_max_length: given(limits.write_bytes_sec_max_length),
        iops_max_length: given(limits.total_iops_sec_max_length),
        iops_rd_max_length: given(limits.read_iops_sec_max_length),
        iops_wr_max_length: given(limits.write_iops_sec_max_length),
    }
}

fn given(limit: Option<u64>) -> Option<u64> {
    limit.filter(|it| *it > 0)
}

/// `set_password`. Its name and values are in no log of ours.
#[derive(Serialize)]
struct SetPassword<'a> {
    protocol: &'static str,
    password: &'a str,
    connected: &'static str,
}

impl Command for SetPassword<'_> {
    const NAME: &'static str = "set_password";
    type Reply = Empty;
}

/// `expire_password`: `never`, or seconds since 1970.
#[derive(Debug, PartialEq, Serialize)]
struct ExpirePassword {
    protocol: &'static str,
    time: String,
}

impl Command for ExpirePassword {
    const NAME: &'static str = "expire_password";
    type Reply = Empty;
}

fn password<'a>(display: &'a Graphics, settings: &'a Config) -> Option<(SetPassword<'a>, ExpirePassword)> {
    let (protocol, usual) = match display.kind? {
        GraphicsKind::Vnc => ("vnc", &settings.vnc_password),
        GraphicsKind::Spice => ("spice", &settings.spice_password),
        _ => return None,
    };
    let password = display.passwd.as_ref().or(usual.as_ref())?;
    // VNC has no other way.
    let connected = match display.connected.filter(|_| protocol == "spice") {
        Some(ConnectedPolicy::Fail) => "fail",
        Some(ConnectedPolicy::Disconnect) => "disconnect",
        _ => "keep",
    };
    let until = display.passwd_valid_to.filter(|_| display.passwd.is_some());
    let time = until.map_or_else(|| "never".to_owned(), |it: DateTime| it.seconds().to_string());
    Some((SetPassword { protocol, password, connected }, ExpirePassword { protocol, time }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn guest(devices: &str) -> DomainConfig {
        let text = format!("<domain type='qemu'><name>a</name><devices>{devices}</devices></domain>");
        let mut config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        crate::command::name_devices(&mut config).unwrap();
        config
    }

    #[test]
    fn limits_are_told_of_drives_that_have_a_medium() {
        let tune = "<iotune><total_bytes_sec>5000</total_bytes_sec><total_bytes_sec_max>9000</total_bytes_sec_max>\
                    <read_iops_sec>0</read_iops_sec></iotune>";
        let config = guest(&format!(
            "<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/>{tune}</disk>\
             <disk type='file' device='cdrom'><target dev='hda' bus='ide'/>{tune}</disk>"
        ));
        let orders: Vec<_> = config.devices.disks.iter().filter_map(throttle).collect();
        let expected = serde_json::json!([{
            "id": "/machine/peripheral/virtio-disk0/virtio-backend", "bps": 5000, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
            "bps_max": 9000
        }]);
        assert_eq!(serde_json::to_value(&orders).unwrap(), expected);
    }

    #[test]
    fn a_balloon_is_filled_where_there_is_one_and_memory_to_give() {
        let asked = |more: &str, devices: &str| {
            let text = format!("<domain type='qemu'><name>a</name>{more}<devices>{devices}</devices></domain>");
            balloon(&DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config)
        };
        let less = "<memory>4096</memory><currentMemory>1024</currentMemory>";
        assert_eq!(asked(less, "<memballoon model='virtio'/>"), Some(1 << 20));
        assert_eq!(asked(less, "<memballoon model='none'/>"), None);
        assert_eq!(asked(less, ""), None);
        assert_eq!(
            asked("<memory>4096</memory><currentMemory>4096</currentMemory>", "<memballoon model='virtio'/>"),
            None
        );
    }

    #[test]
    fn passwords_end_when_they_say_and_the_usual_one_does_not() {
        let settings = Config { spice_password: Some("usual".into()), ..Config::default() };
        let config = guest(
            "<graphics type='vnc' passwd='own' passwdValidTo='2010-04-09T15:51:01'/><graphics type='spice' connected='fail'/>\
             <graphics type='vnc'/>",
        );
        let told = config.devices.graphics.iter().filter_map(|it| password(it, &settings));
        let told: Vec<_> = told.map(|(it, until)| (it.protocol, it.password, it.connected, until.time)).collect();
        let expected =
            [("vnc", "own", "keep", "1270828261".to_owned()), ("spice", "usual", "fail", "never".to_owned())];
        assert_eq!(told, expected);
    }
}
