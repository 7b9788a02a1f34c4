//! Reloads: by order, by signal, by a saved file.

mod hup;
mod removed_files;
mod transaction;
mod watch;
mod watched_files;
