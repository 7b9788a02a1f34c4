//! What requests and idle processes cost, counted and not timed.

mod front;
mod idle;
mod requests;
mod scrape;
mod threads;
