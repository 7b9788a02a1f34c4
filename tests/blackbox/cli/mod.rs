//! The command line.

mod check_config;
mod daemon;
mod migrate;
mod usage;
