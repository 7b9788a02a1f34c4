//! The interpreters that rcorn runs in.

mod free_threaded;
mod interpreters;
mod unusable;
