//! See `packet` in src/http/fuzz.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rcorn_http::fuzz::packet(data));
