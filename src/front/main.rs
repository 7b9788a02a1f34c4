//! The executable of the front. The arbiter starts it with a link as descriptor 3.

use std::process::ExitCode;

fn main() -> ExitCode {
    match rcorn_sys::descriptor::adopt(rcorn_front_link::LINK_FD) {
        Ok(link) => rcorn_front::run(link),
        Err(_not_open) => ExitCode::from(2),
    }
}
