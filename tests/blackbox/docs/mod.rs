//! The manual, and the commands of every page.

mod commands;
mod manual;
mod modules;
mod references;
