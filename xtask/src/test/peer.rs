//! Our command lines beside those of Debian's libvirt, for guests that are always the same.

use crate::{
    peer,
    test::{Context, tally::Tally},
};

/// How many guests. Seeds from 0.
const SEEDS: u64 = 50;

pub(super) fn run(cx: &Context<'_>) -> Result<Tally, String> {
    let options = peer::Options { seeds: SEEDS, first: 0, keep: None, no_install: !cx.may_install };
    let outcome = match peer::compare(cx.checkout, &options, cx.progress) {
        Ok(outcome) => outcome,
        Err(why) => return Ok(cx.cannot("peer", "peer", why)),
    };
    let summary = outcome.output.lines().find(|line| line.contains(" guests: ")).unwrap_or_default().to_owned();
    Ok(match outcome.failure {
        None => Tally::passed(1).note(summary),
        Some(why) => Tally::failed(format!("peer ({why})"), outcome.output),
    })
}
