//! ICMP errors and what they quote: other ends, and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| splitter_fuzz::errors(data));
