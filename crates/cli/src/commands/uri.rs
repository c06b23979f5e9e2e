//! `uri` and `uri parse`.

use polyvirt::ConnectUri;

use super::Done;
use crate::{args::UriCommand, failure::Failure, output::Output, session::Session};

pub(super) fn uri(command: Option<UriCommand>, session: &Session, out: &mut Output) -> Done {
    let Some(UriCommand::Parse { uri }) = command else {
        let uri = session.uri()?;
        if out.json {
            out.json(&serde_json::json!({ "uri": uri, "from": session.settings.uri.from }));
        } else {
            out.line(&uri);
        }
        return Ok(());
    };
    let parsed: ConnectUri = uri.parse().map_err(|e: polyvirt::UriError| Failure::argument(e.to_string()))?;
    if out.json {
        out.json(&serde_json::json!({
            "scheme": parsed.scheme, "server": parsed.server, "port": parsed.port, "path": parsed.path, "query": parsed.query,
            "fragment": parsed.fragment, "user": parsed.user, "params": parsed.params, "formatted": parsed.to_string(),
        }));
        return Ok(());
    }
    let rows = [
        ("scheme", Some(parsed.scheme.clone())),
        ("user", parsed.user.clone()),
        ("server", parsed.server.clone()),
        ("port", (parsed.port != 0).then(|| parsed.port.to_string())),
        ("path", parsed.path.clone()),
        ("fragment", parsed.fragment.clone()),
    ];
    for (key, value) in rows {
        if let Some(value) = value {
            out.line(&format!("{key:<10}{value}"));
        }
    }
    for (key, value) in &parsed.params {
        out.line(&format!("{:<10}{key}={value}", "parameter"));
    }
    Ok(())
}
