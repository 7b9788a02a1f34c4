//! Reloads: by order, by signal, by a saved file.

mod hup;
mod transaction;
mod watch;
mod watched_files;
