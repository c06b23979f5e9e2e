//! `cpu`: CPU models. Nothing but the files given is looked at.

use std::path::{Path, PathBuf};

use polyvirt::cpu::{self, BaselineOptions, Comparison, CpuDefinition, CpuError, Cpuid, Replies, Role, Usable};
use serde_json::json;

use super::{Done, read_xml};
use crate::{
    args::{CpuCommand, CpuRole},
    failure::Failure,
    output::Output,
};

pub(super) fn cpu(command: &CpuCommand, out: &mut Output) -> Done {
    match command {
        CpuCommand::Compare { of, on, file } => {
            let compared = cpu::compare(of.name(), &one(&on.host)?, &one(file)?).map_err(refused)?;
            show_comparison(&compared, out);
        }
        CpuCommand::Baseline { of, expand, migratable, files } => {
            let options = BaselineOptions { expand: *expand, migratable: *migratable };
            show(&cpu::baseline(of.name(), &all(files)?, options).map_err(refused)?, out);
        }
        CpuCommand::Update { of, on, file } => {
            show(&cpu::update(of.name(), &one(&on.host)?, &one(file)?).map_err(refused)?, out);
        }
        CpuCommand::Guest { of, on, models, file } => {
            let usable = models.as_ref().map(|names| names.iter().map(|name| (name.clone(), Vec::new())).collect());
            let usable: Option<Usable> = usable;
            show(&cpu::guest(of.name(), &one(&on.host)?, &one(file)?, usable.as_ref()).map_err(refused)?, out);
        }
        CpuCommand::HasFeature { of, feature, file } => {
            let has = cpu::has_feature(of.name(), &one(file)?, feature).map_err(refused)?;
            match out.json {
                true => out.json(&json!({ "feature": feature, "present": has })),
                false => out.line(if has { "yes" } else { "no" }),
            }
        }
        CpuCommand::Decode { of, role, cpuid, qmp } => {
            let cpuid = cpuid.as_ref().map(|file| read_cpuid(file)).transpose()?;
            let replies = qmp.as_ref().map(|file| read_replies(file)).transpose()?;
            let role = match role {
                CpuRole::Host => Role::Host,
                CpuRole::Guest => Role::Guest,
            };
            show(&cpu::decode(of.name(), role, cpuid.as_ref(), replies.as_ref()).map_err(refused)?, out);
        }
        CpuCommand::Signature { of, cpuid } => {
            cpu::check_cpuid(of.name()).map_err(refused)?;
            let cpuid = read_cpuid(cpuid)?;
            let of = cpuid.signature();
            out.json(&json!({
                "signature": cpuid.raw_signature(), "family": of.family, "model": of.model, "stepping": of.stepping,
            }));
        }
    }
    Ok(())
}

fn show(cpu: &CpuDefinition, out: &mut Output) {
    match out.json {
        true => out.json(cpu),
        false => out.print(&cpu.to_xml()),
    }
}

fn show_comparison(compared: &Comparison, out: &mut Output) {
    let why = match compared {
        Comparison::Incompatible(why) => Some(why),
        _ => None,
    };
    match out.json {
        true => out.json(&json!({ "result": compared.word(), "reason": why })),
        false => out.line(compared.word()),
    }
}

/// An architecture without models is something that this build lacks; all else is wrong input.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: CpuError) -> Failure {
    match error {
        CpuError::Architecture(_) => Failure::Usage(error.to_string()),
        _ => Failure::argument(error.to_string()),
    }
}

fn in_file(file: &Path) -> impl Fn(CpuError) -> Failure {
    move |error| Failure::argument(format!("{}: {error}", file.display()))
}

/// The only CPU of a file.
fn one(file: &Path) -> Result<CpuDefinition, Failure> {
    let mut cpus = CpuDefinition::read(&read_xml(file)?).map_err(in_file(file))?;
    match (cpus.pop(), cpus.len()) {
        (Some(cpu), 0) => Ok(cpu),
        (_, more) => {
            Err(Failure::argument(format!("{}: there are {} CPUs, and one is needed", file.display(), more + 1)))
        }
    }
}

fn all(files: &[PathBuf]) -> Result<Vec<CpuDefinition>, Failure> {
    let mut cpus = Vec::new();
    for file in files {
        cpus.append(&mut CpuDefinition::read(&read_xml(file)?).map_err(in_file(file))?);
    }
    Ok(cpus)
}

fn read_cpuid(file: &Path) -> Result<Cpuid, Failure> {
    Cpuid::read(&read_xml(file)?).map_err(in_file(file))
}

fn read_replies(file: &Path) -> Result<Replies, Failure> {
    Replies::read(&read_xml(file)?).map_err(in_file(file))
}
