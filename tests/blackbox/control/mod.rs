//! `rcorn ctl`.

mod counters;
mod orders;
mod socket;
mod status;
