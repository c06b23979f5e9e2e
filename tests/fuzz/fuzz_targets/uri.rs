//! `polyvirt_fuzz_targets`' `uri` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyvirt_fuzz_targets::run("uri", data));
