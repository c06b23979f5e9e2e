//! Guests whose memory the host cannot read: `confidential-guest-support`.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::security::{LaunchSecurity, Sev, SevSnp},
};
use serde_json::json;

use super::{Args, Input, option::Members};

/// What QEMU names it.
const ID: &str = "lsec0";

pub(super) fn launch_security(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let object = match &input.config.launch_security {
        None => return Ok(()),
        Some(LaunchSecurity::Sev(sev)) => self::sev(sev, input)?,
        Some(LaunchSecurity::SevSnp(snp)) => self::snp(snp, input)?,
        Some(LaunchSecurity::S390Pv(_)) => Members::new("qom-type", "s390-pv-guest").with("id", ID),
        Some(LaunchSecurity::Tdx(tdx)) => {
            let path = tdx
                .quote_generation_service
                .as_ref()
                .map(|it| json!({"type": "unix", "path": it.path.as_deref().unwrap_or("/var/run/tdx-qgs/qgs.socket")}));
            Members::new("qom-type", "tdx-guest")
                .with("id", ID)
                .maybe("mrconfigid", tdx.mr_config_id.clone())
                .maybe("mrowner", tdx.mr_owner.clone())
                .maybe("mrownerconfig", tdx.mr_owner_config.clone())
                .maybe("quote-generation-socket", path)
                .maybe("attributes", tdx.policy)
        }
        Some(_) => {
            let problem = "this kind of launch security cannot be had";
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/launchSecurity/@type"));
        }
    };
    args.add("-object", object.build());
    Ok(())
}

/// What the processor does with addresses: the definition's, else what QEMU told of this host.
fn platform(members: Members, bit: Option<u32>, reduced: Option<u32>, input: &Input<'_>) -> Result<Members> {
    let known = input.binary.replies.get("query-sev-capabilities");
    let told = |name: &str| known.and_then(|it| it[name].as_u64());
    let bit = bit.map(u64::from).or_else(|| told("cbitpos"));
    let reduced = reduced.map(u64::from).or_else(|| told("reduced-phys-bits"));
    let (Some(bit), Some(reduced)) = (bit, reduced) else {
        let problem =
            "this host's QEMU does not tell where the encryption bit is; write <cbitpos> and <reducedPhysBits>";
        return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/launchSecurity"));
    };
    Ok(members.with("cbitpos", bit).with("reduced-phys-bits", reduced))
}

fn sev(sev: &Sev, input: &Input<'_>) -> Result<Members> {
    let file = |name: &str| input.folders.run.join(name).to_string_lossy().into_owned();
    let members =
        platform(Members::new("qom-type", "sev-guest").with("id", ID), sev.cbitpos, sev.reduced_phys_bits, input)?;
    Ok(members
        .with("policy", sev.policy)
        .maybe("dh-cert-file", sev.dh_cert.as_ref().map(|_| file("dh_cert.base64")))
        .maybe("session-file", sev.session.as_ref().map(|_| file("session.base64")))
        .maybe("kernel-hashes", sev.kernel_hashes))
}

fn snp(snp: &SevSnp, input: &Input<'_>) -> Result<Members> {
    let members =
        platform(Members::new("qom-type", "sev-snp-guest").with("id", ID), snp.cbitpos, snp.reduced_phys_bits, input)?;
    Ok(members
        .with("policy", snp.policy)
        .maybe("guest-visible-workarounds", snp.guest_visible_workarounds.clone())
        .maybe("id-block", snp.id_block.clone())
        .maybe("id-auth", snp.id_auth.clone())
        .maybe("host-data", snp.host_data.clone())
        .maybe("kernel-hashes", snp.kernel_hashes)
        .maybe("author-key-enabled", snp.author_key)
        .maybe("vcek-disabled", snp.vcek.map(|it| !it)))
}
