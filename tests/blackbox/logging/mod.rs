//! Logs: files, forms, loggers.

mod access_log;
mod captured_output;
mod completed;
mod files;
mod gunicorn_loggers;
mod held_lines;
mod journald;
mod loggers;
mod long_lines;
mod request_ids;
mod statsd;
mod syslog;
mod unread;
