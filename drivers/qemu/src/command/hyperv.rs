//! Enlightenments: what a guest is told that believes to run on Hyper-V. Source: QEMU, *Hyper-V Enlightenments*.

use polyvirt_core::model::features::{Hyperv, HypervMode, Switch};

use super::{
    machine::is_on,
    option::{Opts, on_off},
};

/// Adds them to `-cpu`. What is off is QEMU's default.
pub(super) fn enlightenments(opts: Opts, hyperv: &Hyperv) -> Opts {
    let mut opts = opts;
    if hyperv.mode == Some(HypervMode::Passthrough) {
        opts = opts.switch("hv-passthrough", true);
    }
    let on = |it: Option<&Switch>| it.filter(|it| is_on(it)).map(|_| on_off(true));
    let spinlocks = hyperv.spinlocks.as_ref().filter(|it| it.state != Some(false)).and_then(|it| it.retries);
    let vendor = hyperv.vendor_id.as_ref().filter(|it| it.state != Some(false)).and_then(|it| it.value.as_deref());
    let stimer = hyperv.stimer.as_ref().filter(|it| it.state != Some(false));
    let flush = hyperv.tlbflush.as_ref().filter(|it| it.state != Some(false));
    opts.maybe("hv-relaxed", on(hyperv.relaxed.as_ref()))
        .maybe("hv-vapic", on(hyperv.vapic.as_ref()))
        .maybe("hv-spinlocks", spinlocks.map(|it| format!("{it:#x}")))
        .maybe("hv-vpindex", on(hyperv.vpindex.as_ref()))
        .maybe("hv-runtime", on(hyperv.runtime.as_ref()))
        .maybe("hv-synic", on(hyperv.synic.as_ref()))
        .maybe("hv-stimer", stimer.map(|_| "on"))
        .maybe("hv-stimer-direct", on(stimer.and_then(|it| it.direct.as_ref())))
        .maybe("hv-reset", on(hyperv.reset.as_ref()))
        .maybe("hv-vendor-id", vendor)
        .maybe("hv-frequencies", on(hyperv.frequencies.as_ref()))
        .maybe("hv-reenlightenment", on(hyperv.reenlightenment.as_ref()))
        .maybe("hv-tlbflush", flush.map(|_| "on"))
        .maybe("hv-tlbflush-direct", on(flush.and_then(|it| it.direct.as_ref())))
        .maybe("hv-tlbflush-ext", on(flush.and_then(|it| it.extended.as_ref())))
        .maybe("hv-ipi", on(hyperv.ipi.as_ref()))
        .maybe("hv-evmcs", on(hyperv.evmcs.as_ref()))
        .maybe("hv-avic", on(hyperv.avic.as_ref()))
        .maybe("hv-emsr-bitmap", on(hyperv.emsr_bitmap.as_ref()))
        .maybe("hv-xmm-input", on(hyperv.xmm_input.as_ref()))
}
