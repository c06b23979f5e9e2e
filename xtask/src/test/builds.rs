//! Steps that are one run of Cargo, and `tidy`.

use std::process::Command;

use crate::{
    test::{Context, LONG, tally::Tally},
    tidy,
};

pub(super) fn format(cx: &Context<'_>) -> Result<Tally, String> {
    let mut tally = cx.one("cargo fmt --check", cx.checkout.cargo().args(["fmt", "--all", "--check"]), LONG)?;
    // What is outside the workspace `cargo fmt` does not see.
    let outside = cx
        .checkout
        .files()?
        .into_iter()
        .filter(|f| ["tests/fuzz", "tests/out-of-tree"].iter().any(|dir| f.starts_with(dir)))
        .filter(|f| f.extension().is_some_and(|e| e == "rs"));
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.current_dir(cx.root()).args(["--check", "--edition", "2024"]).args(outside);
    tally.add(cx.one("rustfmt --check outside the workspace", &mut rustfmt, LONG)?);
    Ok(tally)
}

pub(super) fn clippy(cx: &Context<'_>) -> Result<Tally, String> {
    let mut cargo = cx.checkout.cargo();
    cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    cx.one("cargo clippy", &mut cargo, LONG)
}

pub(super) fn tests(cx: &Context<'_>) -> Result<Tally, String> {
    cx.one("cargo test --no-run", cx.checkout.cargo().args(["test", "--workspace", "--no-run"]), LONG)
}

pub(super) fn doc(cx: &Context<'_>) -> Result<Tally, String> {
    let mut cargo = cx.checkout.cargo();
    cargo.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    cx.one("cargo doc", &mut cargo, LONG)
}

pub(super) fn tidy(cx: &Context<'_>) -> Result<Tally, String> {
    let (warnings, errors): (Vec<_>, Vec<_>) =
        tidy::check(cx.checkout)?.into_iter().partition(tidy::Finding::is_warning);
    if errors.is_empty() {
        let shown = warnings.into_iter().map(|w| w.to_string());
        return Ok(shown.fold(Tally::passed(1), Tally::note));
    }
    let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Ok(Tally::failed("tidy".to_owned(), text.join("\n")))
}
