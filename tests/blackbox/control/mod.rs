//! `rcorn ctl` and `rcorn top`.

mod counters;
mod orders;
mod socket;
mod status;
mod top;
