//! The interpreters that rcorn runs in.

mod interpreters;
mod unusable;
