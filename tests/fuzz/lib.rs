//! The parsers, built for fuzzing: `src/http` and nothing else, with what must hold for any bytes (`http::fuzz`).
#![allow(dead_code, unreachable_pub, reason = "the rest of rcorn uses it")]

#[path = "../../src/http/lib.rs"]
pub mod http;
