#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bobbin_proof::target::typing::run(data));
