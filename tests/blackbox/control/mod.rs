//! `rcorn ctl`.

mod orders;
mod socket;
mod status;
