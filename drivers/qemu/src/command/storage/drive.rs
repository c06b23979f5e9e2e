//! SD cards: the boards have their slots, and `-drive if=sd` is the only way to fill them.

use polyvirt_core::{Result, model::disk::Disk};
use serde_json::Value;

use super::{
    super::{
        Args, Input,
        option::{Members, Opts},
    },
    Counter, disk, protocol,
};

pub(super) fn add(args: &mut Args, input: &Input<'_>, disk: &Disk, path: &str) -> Result<()> {
    let Some(layer) = disk::top(disk, path.to_owned(), &mut Counter::default()) else { return Ok(()) };
    let members = protocol::members(&layer, args, input, &layer.top(input))?;
    let mut opts = match file_name(&members) {
        Some(name) => Opts::pair("file", name),
        None => Opts::flat("file", &members.value()),
    };
    let number = disk.target.as_ref().and_then(|it| disk::number(&it.dev)).unwrap_or(0);
    let format = if layer.is_raw() { "raw" } else { layer.format.as_str() };
    opts = opts.with("format", format).with("if", "sd").with("index", number);
    if disk.readonly {
        opts = opts.switch("readonly", true);
    }
    args.add("-drive", opts.build());
    Ok(())
}

/// A plain file needs no driver to be named.
fn file_name(members: &Members) -> Option<String> {
    let value: Value = members.clone().value();
    let plain = value["driver"] == "file" || value["driver"] == "host_device";
    value["filename"].as_str().filter(|_| plain).map(str::to_owned)
}
