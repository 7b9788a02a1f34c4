//! Many of everything, under load; and chaos, as long as one likes:
//! `RCORN_CHAOS_SECONDS=3600 cargo test --release --test it chaos`.
