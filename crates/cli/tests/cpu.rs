//! `cpu`: questions about CPU models.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use root::Root;
use serde_json::{Value, json};

const HOST: &str = "<capabilities><host><cpu><arch>x86_64</arch><model>Haswell-noTSX</model><vendor>Intel</vendor>
    <feature name='vmx'/></cpu></host></capabilities>";

#[test]
fn a_host_is_compared_with_a_guest() {
    let root = Root::new();
    let host = root.file("host.xml", HOST);
    let guest = root.file("guest.xml", "<cpu match='exact'><model>Nehalem</model></cpu>");
    let newer = root.file("newer.xml", "<domain><cpu><model>Haswell</model></cpu></domain>");
    let compare = ["cpu", "compare", "--arch", "x86_64", "--host", &host];
    assert_eq!(root.ok(&[&compare[..], &[&guest]].concat()), "superset\n");
    let why: Value = serde_json::from_str(&root.ok(&[&["--json"], &compare[..], &[&newer]].concat())).unwrap();
    assert_eq!(why, json!({ "result": "incompatible", "reason": "the host lacks hle, rtm" }));
    let unknown = root.file("unknown.xml", "<cpu><model>Nehalen</model></cpu>");
    assert!(root.refused(&[&compare[..], &[&unknown]].concat()).contains("did you mean 'Nehalem'"));
}

#[test]
fn a_guest_gets_what_the_host_has() {
    let root = Root::new();
    let host = root.file("host.xml", HOST);
    let wish = root.file("wish.xml", "<cpu mode='host-model'/>");
    let on = ["--arch", "x86_64", "--host", &host];
    let updated = root.ok(&[&["cpu", "update"], &on[..], &[&wish]].concat());
    assert_eq!(
        updated,
        "<cpu mode='custom' match='exact'>
  <model fallback='allow'>Haswell-noTSX</model>
  <vendor>Intel</vendor>
  <feature policy='require' name='vmx'/>
</cpu>
"
    );
    let limited = root.ok(&[&["cpu", "guest", "--models", "qemu64,Haswell"], &on[..], &[&wish]].concat());
    assert!(limited.contains(">Haswell<") && limited.contains("policy='disable' name='rtm'"), "{limited}");
    let baseline = root.ok(&["cpu", "baseline", "--arch", "x86_64", "--expand", &host]);
    assert!(baseline.contains("name='avx2'"), "{baseline}");
    assert_eq!(root.ok(&["cpu", "has-feature", "--arch", "x86_64", "--feature", "rtm", &host]), "no\n");
    assert!(root.refused(&["cpu", "has-feature", "--arch", "x86_64", "--feature", "warp", &host]).contains("'warp'"));
}

#[test]
fn a_processor_is_decoded() {
    let root = Root::new();
    let leaves = root.file(
        "leaves.xml",
        "<cpudata><cpuid eax_in='0' ebx='0x756e6547' ecx='0x6c65746e' edx='0x49656e69'/>
          <cpuid eax_in='1' eax='0x00000673' edx='0x0383f9ff'/></cpudata>",
    );
    let signature: Value =
        serde_json::from_str(&root.ok(&["cpu", "signature", "--arch", "x86_64", "--cpuid", &leaves])).unwrap();
    assert_eq!(signature, json!({ "signature": 0x673, "family": 6, "model": 7, "stepping": 3 }));
    let decoded = root.ok(&["cpu", "decode", "--arch", "x86_64", "--as", "host", "--cpuid", &leaves]);
    assert!(decoded.contains("<model>pentium3-v1</model>"), "{decoded}");
    let wrong = root.file("wrong.xml", "<cpudata><cpuid eax_in='nought'/></cpudata>");
    assert!(root.refused(&["cpu", "signature", "--arch", "x86_64", "--cpuid", &wrong]).contains("nought"));
    assert!(root.refused(&["cpu", "decode", "--arch", "ppc64", "--as", "host", "--cpuid", &leaves]).contains("ppc64"));
}
