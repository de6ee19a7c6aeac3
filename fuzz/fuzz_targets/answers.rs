//! What senders are told of dropped packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| splitter_fuzz::answers(data));
