//! `config show` and `drivers`.

use polyvirt::{ProbeContext, ProbeResult};

use super::Done;
use crate::{args::ConfigCommand, output::Output, render, session::Session};

pub(super) fn config(command: &ConfigCommand, session: &Session, out: &mut Output) -> Done {
    let ConfigCommand::Show = command;
    let settings = &session.settings;
    let mut rows = vec![
        ("uri".to_owned(), settings.uri.value.clone(), settings.uri.from.clone()),
        ("wait".to_owned(), settings.wait.value.to_string(), settings.wait.from.clone()),
        ("start-timeout".to_owned(), settings.start_timeout.value.to_string(), settings.start_timeout.from.clone()),
        ("advisor".to_owned(), settings.advisor.value.to_string(), settings.advisor.from.clone()),
    ];
    for driver in session.registry.drivers() {
        for doc in driver.settings {
            let set = settings.drivers.iter().find(|d| d.driver == driver.name && d.key == doc.key);
            let (value, from) = set.map_or((doc.default.to_owned(), "default".to_owned()), |d| {
                (d.value.value.to_string(), d.value.from.clone())
            });
            rows.push((format!("drivers.{}.{}", driver.name, doc.key), value, from));
        }
    }
    for unknown in settings.drivers.iter().filter(|d| !known(session, d)) {
        rows.push((
            format!("drivers.{}.{}", unknown.driver, unknown.key),
            unknown.value.value.to_string(),
            format!("{}; unknown to this build", unknown.value.from),
        ));
    }
    if out.json {
        let rows: Vec<_> =
            rows.iter().map(|(k, v, f)| serde_json::json!({ "key": k, "value": v, "from": f })).collect();
        out.json(&serde_json::json!({ "settings": rows, "files": settings.files }));
        return Ok(());
    }
    let mut table = render::table(&["Key", "Value", "From"]);
    for (key, value, from) in rows {
        table.add_row([key, if value.is_empty() { "(chosen by looking)".to_owned() } else { value }, from]);
    }
    out.line(&render::table_text(&table));
    Ok(())
}

fn known(session: &Session, value: &crate::settings::DriverValue) -> bool {
    session.registry.by_name(&value.driver).is_some_and(|d| d.settings.iter().any(|doc| doc.key == value.key))
}

pub(super) fn drivers(session: &Session, out: &mut Output) -> Done {
    let mut found = Vec::new();
    for driver in session.registry.drivers() {
        let probe = (driver.probe)(&ProbeContext::new(session.settings.driver(driver.name)));
        found.push((driver, probe));
    }
    if out.json {
        let list: Vec<_> = found
            .iter()
            .map(|(d, probe)| {
                serde_json::json!({
                    "name": d.name, "summary": d.summary, "version": d.version, "schemes": d.schemes, "capabilities": d.capabilities,
                    "needs_attendant": d.needs_attendant, "probe": probe,
                })
            })
            .collect();
        out.json(&list);
        return Ok(());
    }
    let mut table = render::table(&["Driver", "URI", "Here", ""]);
    for (driver, probe) in found {
        let (here, why) = match probe {
            ProbeResult::Usable(what) => ("usable", what),
            ProbeResult::NotOperational { reason, remedy } => ("not usable", format!("{reason}; {remedy}")),
            _ => ("unknown", String::new()),
        };
        let schemes = driver.schemes.iter().map(|s| format!("{s}://")).collect::<Vec<_>>().join(" ");
        table.add_row([driver.name.to_owned(), schemes, here.to_owned(), why]);
    }
    out.line(&render::table_text(&table));
    Ok(())
}
