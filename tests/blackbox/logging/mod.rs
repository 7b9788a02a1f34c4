//! Logs: files, forms, loggers.

mod access_log;
mod files;
mod loggers;
