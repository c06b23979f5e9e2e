//! One function a command; one file a family of commands.

mod agent;
mod batch;
mod block_jobs;
mod capabilities;
mod config;
mod console;
mod cpu;
mod cpuset;
mod define;
mod describe;
mod devices;
mod disks;
mod displays;
mod domxml;
mod edit;
mod event;
mod explain;
mod firmware;
mod hands;
mod host;
mod import;
mod info;
mod inventory;
mod io_threads;
mod jobs;
mod life;
mod links;
mod list;
mod memory;
mod numa;
mod pages;
mod saved;
mod shares;
mod sizes;
mod snapshots;
mod statistics;
mod tune;
mod uri;
mod vcpus;
mod xml;

use std::{future::Future, io::Read as _, path::Path, pin::Pin};

use clap::CommandFactory as _;

pub(crate) use domxml::{Recordings, host_arch};

use crate::{
    args::{Cli, Command},
    failure::Failure,
    output::Output,
    session::Session,
};

type Done = Result<(), Failure>;

/// The largest file of XML that is read.
const XML_LIMIT: u64 = 16 << 20;

/// Runs a command. Boxed, because `batch` runs commands in a command.
pub(crate) fn run<'a>(
    command: Command,
    session: &'a mut Session,
    out: &'a mut Output,
) -> Pin<Box<dyn Future<Output = Done> + Send + 'a>> {
    Box::pin(async move {
        match command {
            Command::Define { file } => define::define(&file, session, out).await,
            Command::Import(args) => import::import(&args, session, out).await,
            Command::Create { file, paused, console } => define::create(&file, paused, console, session, out).await,
            Command::Start(start) => life::start(start, session, out).await,
            Command::Shutdown { which, mode } => life::shutdown(&which, &mode, session, out).await,
            Command::Reboot { which, mode } => life::reboot(&which, &mode, session, out).await,
            Command::Reset(which) => life::reset(&which, session, out).await,
            Command::Destroy { which, graceful } => life::destroy(&which, graceful, session, out).await,
            Command::Suspend(which) => life::suspend(&which, session, out).await,
            Command::Resume(which) => life::resume(&which, session, out).await,
            Command::Save(args) => saved::save(&args, session, out).await,
            Command::Restore(args) => saved::restore(&args, session, out).await,
            Command::SaveImageDumpxml(args) => saved::dumpxml(&args, session, out).await,
            Command::SaveImageDefine(args) => saved::define(&args, session, out).await,
            Command::SaveImageEdit(args) => saved::edit(&args, session, out).await,
            Command::Managedsave(args) => saved::managedsave(&args, session, out).await,
            Command::ManagedsaveRemove(which) => saved::managed_remove(&which, session, out).await,
            Command::ManagedsaveDumpxml(args) => saved::managed_dumpxml(&args, session, out).await,
            Command::ManagedsaveDefine(args) => saved::managed_define(&args, session, out).await,
            Command::ManagedsaveEdit(args) => saved::managed_edit(&args, session, out).await,
            Command::Dump(args) => saved::dump(&args, session, out).await,
            Command::Dompmsuspend(args) => life::sleep(&args, session, out).await,
            Command::Dompmwakeup(which) => life::wake(&which, session, out).await,
            Command::Domjobinfo(args) => jobs::info(&args, session, out).await,
            Command::Domjobabort(which) => jobs::abort(&which, session, out).await,
            Command::Undefine { which, managed_save, snapshots_metadata } => {
                define::undefine(&which, managed_save, snapshots_metadata, session, out).await
            }
            Command::AttachDevice(args) => devices::attach(&args, session, out).await,
            Command::DetachDevice(args) => devices::detach(&args, session, out).await,
            Command::DetachDeviceAlias(args) => devices::detach_alias(&args, session, out).await,
            Command::UpdateMemoryDevice(args) => devices::update_memory(&args, session, out).await,
            Command::UpdateDevice(args) => devices::update(&args, session, out).await,
            Command::AttachDisk(args) => disks::attach_disk(&args, session, out).await,
            Command::DetachDisk(args) => disks::detach_disk(&args, session, out).await,
            Command::ChangeMedia(args) => disks::change_media(&args, session, out).await,
            Command::AttachInterface(args) => disks::attach_interface(&args, session, out).await,
            Command::DetachInterface(args) => disks::detach_interface(&args, session, out).await,
            Command::Autostart { which, disable } => define::autostart(&which, !disable, session, out).await,
            Command::List(list) => list::list(&list, session, out).await,
            Command::Dominfo(which) => info::dominfo(&which, session, out).await,
            Command::Domstate { which, reason } => info::domstate(&which, reason, session, out).await,
            Command::Domid(which) => info::domid(&which, session, out).await,
            Command::Domuuid(which) => info::domuuid(&which, session, out).await,
            Command::Domname(which) => info::domname(&which, session, out).await,
            Command::Dumpxml { which, inactive, security_info } => {
                info::dumpxml(&which, inactive, security_info, session, out).await
            }
            Command::Vcpuinfo(which) => info::vcpuinfo(&which, session, out).await,
            Command::Setmem(args) => memory::setmem(&args, session, out).await,
            Command::Setmaxmem(args) => memory::setmaxmem(&args, session, out).await,
            Command::Memtune(args) => memory::memtune(&args, session, out).await,
            Command::Schedinfo(args) => shares::schedinfo(&args, session, out).await,
            Command::Blkiotune(args) => shares::blkiotune(&args, session, out).await,
            Command::Iothreadinfo(args) => io_threads::info(&args, session, out).await,
            Command::Iothreadadd(args) => io_threads::add(&args, session, out).await,
            Command::Iothreaddel(args) => io_threads::remove(&args, session, out).await,
            Command::Iothreadset(args) => io_threads::set(&args, session, out).await,
            Command::Iothreadpin(args) => io_threads::pin(&args, session, out).await,
            Command::Blkdeviotune(args) => links::blkdeviotune(&args, session, out).await,
            Command::Domiftune(args) => links::domiftune(&args, session, out).await,
            Command::DomifSetlink(args) => links::setlink(&args, session, out).await,
            Command::DomifGetlink(args) => links::getlink(&args, session, out).await,
            Command::Setvcpus(args) => vcpus::setvcpus(&args, session, out).await,
            Command::Setvcpu(args) => vcpus::setvcpu(&args, session, out).await,
            Command::Vcpucount(args) => vcpus::vcpucount(&args, session, out).await,
            Command::Desc(args) => describe::desc(&args, session, out).await,
            Command::Metadata(args) => describe::metadata(&args, session, out).await,
            Command::SetLifecycleAction(args) => describe::lifecycle(&args, session, out).await,
            Command::Domrename(args) => describe::rename(&args, session, out).await,
            Command::Domdisplay(args) => displays::domdisplay(&args, session, out).await,
            Command::Vncdisplay(which) => displays::vncdisplay(&which, session, out).await,
            Command::Ttyconsole(which) => displays::ttyconsole(&which, session, out).await,
            Command::Domcontrol(which) => displays::domcontrol(&which, session, out).await,
            Command::Edit(which) => edit::edit(&which, session, out).await,
            Command::Console { which, devname } => console::console(&which, devname.as_deref(), session, out).await,
            Command::Screenshot(args) => hands::screenshot(args, session, out).await,
            Command::SendKey(args) => hands::send_key(args, session, out).await,
            Command::InjectNmi(which) => hands::inject_nmi(&which, session, out).await,
            Command::Numatune { which, mode, nodeset, affect } => {
                tune::numatune(&which, mode, nodeset, affect, session, out).await
            }
            Command::Vcpupin { which, vcpu, cpulist, vcpu_number, cpulist_words, affect } => {
                tune::vcpupin(&which, vcpu.or(vcpu_number), cpulist.or(cpulist_words), affect, session, out).await
            }
            Command::Emulatorpin { which, cpulist, cpulist_words, affect } => {
                tune::emulatorpin(&which, cpulist.or(cpulist_words), affect, session, out).await
            }
            Command::Domstats(args) => statistics::domstats(args, session, out).await,
            Command::Domblkstat(args) => statistics::domblkstat(args, session, out).await,
            Command::Domifstat(args) => statistics::domifstat(args, session, out).await,
            Command::Dommemstat(args) => statistics::dommemstat(args, session, out).await,
            Command::CpuStats(args) => statistics::cpu_stats(args, session, out).await,
            Command::DomdirtyrateCalc(args) => statistics::dirtyrate(args, session, out).await,
            Command::Domblklist(args) => inventory::domblklist(args, session, out).await,
            Command::Domblkinfo(args) => inventory::domblkinfo(args, session, out).await,
            Command::Domblkerror(which) => inventory::domblkerror(&which, session, out).await,
            Command::Block(command) => block_jobs::block(command, session, out).await,
            Command::Domiflist(args) => inventory::domiflist(args, session, out).await,
            Command::Snapshot(command) => snapshots::snapshot(command, session, out).await,
            Command::Agent(command) => agent::agent(command, session, out).await,
            Command::Firmware(command) => firmware::firmware(command, out),
            Command::Capabilities(args) => capabilities::capabilities(args, session, out).await,
            Command::Domcapabilities(args) => capabilities::domcapabilities(args, session, out).await,
            Command::QemuCaps(args) => capabilities::qemu_caps(&args, session, out),
            Command::Nodeinfo(tree) => host::nodeinfo(&tree, session, out).await,
            Command::Nodecpustats { cpu, tree } => host::nodecpustats(cpu, &tree, session, out).await,
            Command::Freepages(wanted) => pages::freepages(&wanted, session, out).await,
            Command::Allocpages(wanted) => pages::allocpages(&wanted, session, out).await,
            Command::Freecell { cellno, all } => host::freecell(cellno, all, session, out).await,
            Command::Numa { command } => numa::numa(command, session, out).await,
            Command::Host { command } => host::host(&command, session, out),
            Command::Uri { command } => uri::uri(command, session, out),
            Command::Event { domain, repeat, timeout, timestamp, history } => {
                event::event(event::Options { domain, repeat, timeout, timestamp, history }, session, out).await
            }
            Command::Explain(args) => explain::explain(&args.what, args.auto_nodeset.as_deref(), session, out).await,
            Command::Domxml { command } => domxml::domxml(command, session, out).await,
            Command::Xml { command } => xml::xml(&command, session, out),
            Command::Cpu { command } => cpu::cpu(&command, out),
            Command::Cpuset { command } => cpuset::cpuset(&command, out),
            Command::Batch => batch::batch(&session.recordings, out).await,
            Command::Config { command } => config::config(&command, session, out),
            Command::Drivers => config::drivers(session, out),
            Command::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "polyvirt", &mut script);
                out.print(&String::from_utf8_lossy(&script));
                Ok(())
            }
        }
    })
}

/// Reads a file of XML, bounded.
fn read_xml(file: &Path) -> Result<String, Failure> {
    let open = || -> std::io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(file)?.take(XML_LIMIT + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = open().map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => {
            Failure::argument(format!("{} is not UTF-8 text; convert it first", file.display()))
        }
        _ => Failure::Error(polyvirt::io_error("read", file, e)),
    })?;
    if text.len() as u64 > XML_LIMIT {
        return Err(Failure::argument(format!("{} is larger than {XML_LIMIT} bytes", file.display())));
    }
    Ok(text)
}

/// Tells the warnings of a definition.
fn tell_warnings(warnings: &polyvirt::model::Problems, out: &mut Output) {
    for warning in warnings.iter() {
        out.warning(&warning.to_string());
    }
}
