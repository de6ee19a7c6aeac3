//! Echo requests become replies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| splitter_fuzz::echoes(data));
