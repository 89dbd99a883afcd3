#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livedex_oracle::filtering(data));
