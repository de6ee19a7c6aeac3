//! TCP and UDP: parse, payload, translate, and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| splitter_fuzz::segments(data));
