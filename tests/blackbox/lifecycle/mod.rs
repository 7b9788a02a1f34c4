//! Starting, stopping, and everything that happens to processes in between.

mod aborted;
mod alike;
mod app_handlers;
mod boot_failure;
mod chaos;
mod child_signals;
mod death;
mod exit_functions;
mod hung_threads;
mod imports;
mod listeners;
mod no_room;
mod out_of_memory;
mod pid_file;
mod preload;
mod privileges;
mod promotion;
mod refork;
mod retirement;
mod scaling;
mod slow;
mod spares;
mod start;
mod stop;
mod timeout;
