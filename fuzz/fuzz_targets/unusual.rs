//! Options, extension headers, first fragments: walk, other ends, and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| splitter_fuzz::fragments(data));
