//! Behaviour every driver must show, as a suite that a driver's own tests run.
//!
//! ```text
//! fn subject() -> polyvirt_driver_testkit::Subject { … }
//! polyvirt_driver_testkit::conformance!(subject);
//! ```
//!
//! makes one `#[test]` a case. A case names the sentence of core's documentation that it checks. Cases are chosen by what the driver's
//! descriptor declares, *and* what it does not declare must be absent.
//!
//! What is missing on a machine is a skip: the test passes and prints `skipped: REASON`, unless `POLYVIRT_REQUIRE` names it.

mod bench;
mod block_cases;
mod device_cases;
mod dump_cases;
mod engine_cases;
mod launcher_cases;
mod running_cases;
mod save_cases;
mod snapshot_cases;
mod statistics_cases;
mod tuning_cases;
mod vcpu_cases;

pub use bench::{Bench, Recorded, Subject, require};

use std::{future::Future, pin::Pin};

/// A case of the suite.
pub type Case = for<'a> fn(&'a Bench) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs one case on a fresh bench; what [`conformance!`] calls.
pub fn run_case(subject: Subject, case: Case) {
    if let Some(reason) = &subject.skip {
        println!("skipped: {reason}");
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bench = Bench::new(subject).await;
        case(&bench).await;
        bench.nothing_left().await;
    });
}

macro_rules! cases {
    ($($(#[doc = $doc:literal])+ $name:ident = $path:path;)+) => {
        /// The cases, each a function for [`run_case`](crate::run_case).
        pub mod cases {
            use super::*;
            $($(#[doc = $doc])+ pub fn $name(bench: &Bench) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> { Box::pin($path(bench)) })+
        }

        /// Makes a `#[test]` of every case for the driver that `$subject()` describes.
        #[macro_export]
        macro_rules! conformance {
            ($subject:expr) => {
                $(#[test] fn $name() { $crate::run_case($subject(), $crate::cases::$name); })+
            };
        }
    };
}

cases! {
    /// Completing twice changes nothing, and a completed definition passes the check.
    complete_is_idempotent = launcher_cases::complete_is_idempotent;
    /// The same definition gives the same manifest.
    manifest_is_pure = launcher_cases::manifest_is_pure;
    /// What guests can have is told the same way twice, and what the hypervisor lacks is `InvalidArgument`.
    capabilities_of_guests = launcher_cases::capabilities_of_guests;
    /// A start goes through the driver's stages in order, with records at `pid` and `monitor`.
    stages_come_in_order = launcher_cases::stages_come_in_order;
    /// Cancelled at any stage, a start returns `Cancelled` and leaves nothing.
    cancel_at_every_stage = launcher_cases::cancel_at_every_stage;
    /// Dropped at any stage, a start leaves nothing that `reap` does not remove.
    drop_at_every_stage = launcher_cases::drop_at_every_stage;
    /// A journal that cannot be written ends the start, and nothing is left.
    journal_failure_ends_the_start = launcher_cases::journal_failure_ends_the_start;
    /// `reap` with nothing to do, and twice, is no error.
    reap_is_idempotent = launcher_cases::reap_is_idempotent;
    /// A fresh driver finds the running guest by its record, and does not kill it.
    reattach_finds_the_guest = launcher_cases::reattach_finds_the_guest;
    /// A record of a newer version is `Unreachable`, and the guest lives on.
    newer_record_is_unreachable = launcher_cases::newer_record_is_unreachable;
    /// A guest that is gone is `Stopped`.
    reattach_to_a_dead_guest = launcher_cases::reattach_to_a_dead_guest;
    /// What the descriptor declares is there, and what it does not declare is not.
    capabilities_both_ways = running_cases::capabilities_both_ways;
    /// Destroy is idempotent, sends `Stopped`, and nothing runs when it returns.
    destroy_is_idempotent = running_cases::destroy_is_idempotent;
    /// Suspend and resume are idempotent and change the state.
    pause_and_resume = running_cases::pause_and_resume;
    /// Reset is followed by its signal.
    reset_is_told = running_cases::reset_is_told;
    /// A console that does not exist is `NotFound`.
    no_such_console = running_cases::no_such_console;
    /// A screen that does not exist is `NotFound`.
    no_such_screen = running_cases::no_such_screen;
    /// A paused guest takes no keys, a running one does.
    nobody_reads_keys_while_paused = running_cases::nobody_reads_keys_while_paused;
    /// An NMI is sent and changes no state by itself.
    nmi_is_sent = running_cases::nmi_is_sent;
    /// A device is put in, found in the live definition, taken out, and its going is told; then nothing of it is left.
    devices_come_and_go = device_cases::devices_come_and_go;
    /// A device is both stored and plugged in, or neither.
    both_sides_or_neither = device_cases::both_sides_or_neither;
    /// What the guest does not have is `NotFound`, what it has already `AlreadyExists`, and nothing changes.
    wrong_devices_are_refused = device_cases::wrong_devices_are_refused;
    /// A disk is copied while the guest runs: seen, kept from harm, gone over to, and followed by the stored definition.
    disks_are_copied = block_cases::copied;
    /// A job that is ended leaves the disk as it was, and every step of a job is one that it goes through.
    block_jobs_are_ended = block_cases::ended;
    /// A disk's size changes and its images can be marked; what is not there is `NotFound`, what cannot be `InvalidArgument`.
    disks_are_resized = block_cases::resized;
    /// All vCPUs are listed ascending, within the plan.
    vcpus_are_where_planned = running_cases::vcpus_are_where_planned;
    /// vCPUs are plugged to a number, are where planned, and a number that there is changes nothing.
    vcpus_are_plugged_to_a_number = vcpu_cases::plugged_to_a_number;
    /// Single vCPUs are plugged; one that the guest cannot have is `InvalidArgument`, one that stays `InvalidState`.
    single_vcpus_are_plugged = vcpu_cases::single_ones;
    /// I/O threads come and go by number; one that is there is `AlreadyExists`, one that is not `NotFound`.
    io_threads_come_and_go = tuning_cases::io_threads;
    /// Limits of memory are set, changed and lifted, or refused for what this host lacks.
    memory_is_limited = tuning_cases::memory_limits;
    /// Limits of CPU time are set, changed and lifted, all or none, or refused for what this host lacks.
    cpu_time_is_limited = tuning_cases::cpu_time;
    /// Limits of block I/O likewise; what is no block device is `InvalidArgument`.
    block_io_is_limited = tuning_cases::block_io;
    /// A pin that is applied is read back.
    pins_are_applied = running_cases::pins_are_applied;
    /// A saved guest can be ended and continued from its stream, or go on.
    saved_and_continued = save_cases::saved_and_continued;
    /// A cancelled save leaves a guest that goes on, and `abandon` is idempotent.
    cancelled_save_leaves_the_guest = save_cases::cancelled_save_leaves_the_guest;
    /// A stream that is none ends the restore, and nothing is left.
    broken_stream_ends_the_restore = save_cases::broken_stream_ends_the_restore;
    /// A save that fails at any step leaves the guest as it was and no file; after that the guest is in the file.
    failed_save_leaves_the_guest = save_cases::failed_save_leaves_the_guest;
    /// Save, look into the file, change it, restore, through the engine.
    restored_through_the_engine = save_cases::restored_through_the_engine;
    /// A start continues from a managed save, which is gone before the guest runs.
    managed_save_is_used_once = save_cases::managed_save_is_used_once;
    /// Why a guest runs or is paused is known.
    reasons_are_kept = save_cases::reasons_are_kept;
    /// A job is seen and ended from elsewhere; meanwhile others are told what they wait for.
    job_is_told_and_aborted = save_cases::job_is_told_and_aborted;
    /// A core is written, its beginning says its form, and the guest goes on.
    core_is_written = dump_cases::core_is_written;
    /// A dump that fails at any step leaves the guest as it was and no file.
    failed_dump_leaves_the_guest = dump_cases::failed_dump_leaves_the_guest;
    /// A snapshot is taken, listed, reverted to and deleted, while the guest runs and while it is off.
    snapshots_are_taken_listed_and_deleted = snapshot_cases::taken_listed_and_deleted;
    /// A snapshot that fails at any step leaves the guest as it was, and neither store nor images have anything of it.
    failed_snapshot_leaves_nothing = snapshot_cases::failed_one_leaves_nothing;
    /// A revert that fails leaves the guest as it was, or is finished by the next change.
    failed_revert_is_undone_or_finished = snapshot_cases::failed_revert_is_undone_or_finished;
    /// A guest that does not sleep cannot be woken.
    nobody_wakes_who_is_awake = dump_cases::nobody_wakes_who_is_awake;
    /// A guest with an agent sleeps and is woken; without one it is refused, and runs on.
    asleep_or_refused = dump_cases::asleep_or_refused;
    /// Every declared group of numbers is told or missing with a reason, and none that was not asked for.
    groups_of_numbers = statistics_cases::groups_of_numbers;
    /// The kernel's numbers of a guest are told without its owner, and name every group that they lack.
    numbers_from_outside = statistics_cases::numbers_from_outside;
    /// Disks have sizes and no errors; an empty drive is `NotFound`.
    sizes_of_disks = statistics_cases::sizes_of_disks;
    /// A balloon's period is set and cleared; a dirty rate is begun and told.
    balloon_and_dirty_rate = statistics_cases::balloon_and_dirty_rate;
    /// All guests are asked at once; one that does not run has its state.
    numbers_of_all_guests = statistics_cases::numbers_of_all_guests;
    /// Define, list, start, look, destroy, undefine through the engine.
    life_through_the_engine = engine_cases::life_through_the_engine;
    /// A start that fails at any stage leaves no guest, record, promise or owner, and the next start works.
    failed_start_leaves_nothing = engine_cases::failed_start_leaves_nothing;
    /// A second process is told who is busy, reads all the same, and takes over when the owner goes.
    one_owner_at_a_time = engine_cases::one_owner_at_a_time;
    /// Destroy comes before a start that is under way.
    destroy_preempts_start = engine_cases::destroy_preempts_start;
    /// Events are numbered without holes and tell the guest's life in order.
    events_tell_the_life = engine_cases::events_tell_the_life;
}
