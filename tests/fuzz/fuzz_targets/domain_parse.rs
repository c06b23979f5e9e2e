//! `polyvirt_fuzz_targets`' `domain_parse` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyvirt_fuzz_targets::run("domain_parse", data));
