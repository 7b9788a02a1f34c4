//! Settings: gunicorn's, its configuration files, and the hooks in them.

mod gunicorn_conf;
mod gunicorn_settings;
mod hooks;
mod master_hooks;
mod variables;
