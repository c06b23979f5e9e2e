//! The commands that ask the agent in a guest. What a guest says is shown without its control characters.

use std::{
    io::Read as _,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use polyvirt::{
    Error, ErrorKind, GuestInfoKind, GuestInfoRecord, GuestInterface, SecretText, SshKeysHow, io_error,
    placement::CpuSet,
};

use super::{Done, life::tell};
use crate::{
    args::{AgentCommand, Which},
    failure::Failure,
    output::Output,
    render,
    session::Session,
};

/// Bytes of keys or of a password that are read.
const INPUT: u64 = 1 << 20;

pub(super) async fn agent(command: AgentCommand, session: &mut Session, out: &mut Output) -> Done {
    match command {
        AgentCommand::Raw { which, timeout, pretty, command } => {
            let guest = session.guest(&which.domain).await?;
            let told = guest.agent_command(&command.join(" "), Duration::from_secs(timeout.into())).await?;
            // An agent's answer may have anything in it; JSON that is written anew has no control characters.
            let told: serde_json::Value = serde_json::from_str(&told).map_err(std::io::Error::from)?;
            out.line(&if pretty || out.json { format!("{told:#}") } else { told.to_string() });
            Ok(())
        }
        AgentCommand::Domhostname(asked) => {
            let name = session.guest(&asked.which.domain).await?.hostname().await?;
            if out.json {
                out.json(&name)
            } else {
                out.line(&plain(&name))
            }
            Ok(())
        }
        AgentCommand::Domifaddr { asked, interface, full } => {
            let told = session.guest(&asked.which.domain).await?.addresses().await?;
            addresses(told, interface.as_deref(), full, out)
        }
        AgentCommand::Domfsfreeze { which, mountpoint } => {
            let count = session.guest(&which.domain).await?.freeze(&mountpoint).await?;
            counted("frozen", "Froze", count, out)
        }
        AgentCommand::Domfsthaw(which) => {
            let count = session.guest(&which.domain).await?.thaw().await?;
            counted("thawed", "Thawed", count, out)
        }
        AgentCommand::Domfstrim { which, minimum } => {
            let guest = session.guest(&which.domain).await?;
            guest.trim(minimum).await?;
            tell(&guest, "gave its unused blocks back", out);
            Ok(())
        }
        AgentCommand::Domfsinfo(which) => filesystems(&which, session, out).await,
        AgentCommand::Domtime { which, now, sync, time, pretty } => {
            let to = if now { UNIX_EPOCH.elapsed().ok() } else { time.map(Duration::from_secs) };
            clock(&which, to, sync, pretty, session, out).await
        }
        AgentCommand::SetUserPassword { which, user, password, encrypted } => {
            let password = if password == "-" { from_stdin()? } else { password };
            let guest = session.guest(&which.domain).await?;
            guest.set_password(&user, &SecretText::new(password), encrypted).await?;
            tell(&guest, &format!("has a new password for '{user}'"), out);
            Ok(())
        }
        AgentCommand::GetUserSshkeys { which, user } => {
            let keys = session.guest(&which.domain).await?.ssh_keys(&user).await?;
            if out.json {
                out.json(&keys)
            } else {
                keys.iter().for_each(|key| out.line(&plain(key)))
            }
            Ok(())
        }
        AgentCommand::SetUserSshkeys { which, user, file, reset, remove } => {
            let keys = file.as_deref().map(keys).transpose()?.unwrap_or_default();
            let how = match (reset, remove) {
                (true, _) => SshKeysHow::Replace,
                (_, true) => SshKeysHow::Remove,
                _ => SshKeysHow::Add,
            };
            let guest = session.guest(&which.domain).await?;
            guest.set_ssh_keys(&user, &keys, how).await?;
            tell(&guest, &format!("has other keys for '{user}'"), out);
            Ok(())
        }
        AgentCommand::Guestvcpus { which, cpulist, enable, disable } => {
            let change = cpulist.map(|set| (set, enable || !disable));
            vcpus(&which, change, session, out).await
        }
        AgentCommand::Guestinfo { which, user, os, timezone, hostname, filesystem, interface } => {
            let said = [user, os, timezone, hostname, filesystem, interface];
            let kinds = GuestInfoKind::ALL.iter().zip(said).filter(|(_, said)| *said).map(|(kind, _)| *kind);
            let kinds: Vec<_> = kinds.collect();
            let guest = session.guest(&which.domain).await?;
            let told = guest.guest_info(if kinds.is_empty() { GuestInfoKind::ALL } else { &kinds }).await?;
            info(&told, out);
            Ok(())
        }
    }
}

/// What a guest says, without what would move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { '?' } else { it }).collect()
}

fn counted(key: &str, word: &str, count: u32, out: &mut Output) -> Done {
    if out.json {
        out.json(&serde_json::json!({ key: count }));
    }
    out.done(&format!("{word} {count} filesystem(s)"));
    Ok(())
}

fn addresses(told: Vec<GuestInterface>, wanted: Option<&str>, full: bool, out: &mut Output) -> Done {
    let is = |card: &GuestInterface, name: &str| card.name == name || card.mac.as_deref() == Some(name);
    let told: Vec<_> = told.into_iter().filter(|card| wanted.is_none_or(|name| is(card, name))).collect();
    if let (Some(name), true) = (wanted, told.is_empty()) {
        return Err(Failure::Error(Error::new(ErrorKind::NotFound, format!("the guest has no card '{name}'"))));
    }
    if out.json {
        out.json(&told);
        return Ok(());
    }
    let mut table = render::table(&["Name", "MAC address", "Protocol", "Address"]);
    for card in &told {
        let mac = card.mac.as_deref().map_or_else(|| "N/A".to_owned(), plain);
        let lines = card.addresses.iter().enumerate().map(|(at, (address, prefix))| {
            let [name, mac] =
                if at == 0 || full { [plain(&card.name), mac.clone()] } else { ["-", "-"].map(Into::into) };
            [name, mac, if address.is_ipv4() { "ipv4" } else { "ipv6" }.to_owned(), format!("{address}/{prefix}")]
        });
        let lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            table.add_row([plain(&card.name), mac.clone(), "N/A".to_owned(), "N/A".to_owned()]);
        }
        table.add_rows(lines);
    }
    out.line(&render::table_text(&table));
    Ok(())
}

async fn filesystems(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let told = session.guest(&which.domain).await?.filesystems().await?;
    if out.json {
        out.json(&told);
        return Ok(());
    }
    let mut table = render::table(&["Mountpoint", "Name", "Type", "Target"]);
    for it in told {
        let targets: Vec<_> = it.disks.into_iter().filter_map(|disk| disk.target).collect();
        table.add_row([it.mountpoint, it.name, it.kind, targets.join(",")].map(|it| plain(&it)));
    }
    out.line(&render::table_text(&table));
    Ok(())
}

async fn clock(
    which: &Which,
    to: Option<Duration>,
    sync: bool,
    pretty: bool,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let guest = session.guest(&which.domain).await?;
    if to.is_some() || sync {
        guest.set_time(to).await?;
        tell(&guest, "has its clock set", out);
        return Ok(());
    }
    let time = guest.time().await?;
    if out.json {
        out.json(&serde_json::json!({ "seconds": time.as_secs(), "nanoseconds": time.subsec_nanos() }));
    } else if pretty {
        out.line(&format!("Time: {}", date(time.as_secs())));
    } else {
        out.line(&format!("Time: {}", time.as_secs()));
    }
    Ok(())
}

/// In UTC, by the calendar that is used everywhere (days from the civil calendar, as in H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms").
pub(super) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400 + u64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(INPUT).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn keys(file: &Path) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|it| it.take(INPUT).read_to_string(&mut text));
    read.map_err(|error| Failure::Error(io_error("read", file, error)))?;
    Ok(text.lines().map(str::trim).filter(|it| !it.is_empty()).map(ToOwned::to_owned).collect())
}

async fn vcpus(which: &Which, change: Option<(CpuSet, bool)>, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    if let Some((set, online)) = change {
        let vcpus: Vec<u32> = set.iter().map(u32::from).collect();
        guest.set_guest_vcpus(&vcpus, online).await?;
        tell(&guest, if online { "switched vCPUs on" } else { "switched vCPUs off" }, out);
        return Ok(());
    }
    let told = guest.guest_vcpus().await?;
    if out.json {
        out.json(&told);
        return Ok(());
    }
    let set = |wanted: fn(&polyvirt::GuestVcpu) -> bool| {
        let ids = told.iter().filter(|it| wanted(it)).map(|it| polyvirt::placement::HostCpu::from(it.id));
        ids.collect::<CpuSet>().to_string()
    };
    out.line(&format!("{:<15}: {}", "vcpus", set(|_| true)));
    out.line(&format!("{:<15}: {}", "online", set(|it| it.online)));
    out.line(&format!("{:<15}: {}", "offlinable", set(|it| it.can_offline)));
    Ok(())
}

/// Under the names that virsh has.
fn info(told: &GuestInfoRecord, out: &mut Output) {
    if out.json {
        return out.json(told);
    }
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, value: String| fields.push((name, plain(&value)));
    if let Some(users) = &told.users {
        add("user.count".into(), users.len().to_string());
        for (at, (name, since)) in users.iter().enumerate() {
            add(format!("user.{at}.name"), name.clone());
            add(format!("user.{at}.login-time"), format!("{:.0}", since * 1000.0));
        }
    }
    for (name, value) in told.os.iter().flatten() {
        add(format!("os.{name}"), value.clone());
    }
    if let Some((name, offset)) = &told.timezone {
        name.iter().for_each(|name| add("timezone.name".into(), name.clone()));
        add("timezone.offset".into(), offset.to_string());
    }
    told.hostname.iter().for_each(|name| add("hostname".into(), name.clone()));
    if let Some(all) = &told.filesystems {
        add("fs.count".into(), all.len().to_string());
        for (at, it) in all.iter().enumerate() {
            let sizes = [("total-bytes", it.total), ("used-bytes", it.used)];
            let texts = [("name", &it.name), ("mountpoint", &it.mountpoint), ("fstype", &it.kind)];
            texts.into_iter().for_each(|(name, text)| add(format!("fs.{at}.{name}"), text.clone()));
            sizes.into_iter().for_each(|(name, size)| {
                size.iter().for_each(|size| add(format!("fs.{at}.{name}"), size.to_string()));
            });
            add(format!("fs.{at}.disk.count"), it.disks.len().to_string());
            for (number, disk) in it.disks.iter().enumerate() {
                let texts = [("alias", &disk.target), ("serial", &disk.serial), ("device", &disk.device)];
                texts.into_iter().for_each(|(name, text)| {
                    text.iter().for_each(|text| add(format!("fs.{at}.disk.{number}.{name}"), text.clone()));
                });
            }
        }
    }
    if let Some(all) = &told.interfaces {
        add("if.count".into(), all.len().to_string());
        for (at, it) in all.iter().enumerate() {
            add(format!("if.{at}.name"), it.name.clone());
            it.mac.iter().for_each(|mac| add(format!("if.{at}.hwaddr"), mac.clone()));
            add(format!("if.{at}.addr.count"), it.addresses.len().to_string());
            for (number, (address, prefix)) in it.addresses.iter().enumerate() {
                add(format!("if.{at}.addr.{number}.addr"), address.to_string());
                add(format!("if.{at}.addr.{number}.prefix"), prefix.to_string());
            }
        }
    }
    for (name, value) in fields {
        out.line(&format!("{name:<20}: {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn a_guest_moves_no_cursor() {
        assert_eq!(plain("a\x1b[2Jb\n"), "a?[2Jb?");
    }
}
