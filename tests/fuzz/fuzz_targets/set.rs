//! `polyvirt_fuzz_targets`' `set` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyvirt_fuzz_targets::run("set", data));
