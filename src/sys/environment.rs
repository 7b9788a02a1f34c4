//! Changes of this process's environment, which C code reads without a lock.
#![expect(unsafe_code, reason = "setenv(3) is for processes with one thread")]
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that changes it"
)]

use std::ffi::OsString;
use std::io;

use crate::fork::require_one_thread;

/// Sets a variable.
///
/// # Errors
///
/// This process has other threads, which may be reading the environment (setenv(3)).
pub fn set(name: &str, value: &str) -> io::Result<()> {
    require_one_thread("a change of the environment")?;
    // SAFETY: there is one thread.
    unsafe { std::env::set_var(name, value) }
    Ok(())
}

/// Removes a variable, if it is there.
///
/// # Errors
///
/// Those of [`set`].
pub fn unset(name: &str) -> io::Result<()> {
    if std::env::var_os(name).is_none() {
        return Ok(());
    }
    require_one_thread("a change of the environment")?;
    // SAFETY: there is one thread.
    unsafe { std::env::remove_var(name) }
    Ok(())
}

/// Moves all variables to the heap, away from the memory that they had at exec.
pub(crate) fn move_to_heap() -> io::Result<()> {
    require_one_thread("a move of the environment")?;
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for (name, value) in variables {
        // SAFETY: there is one thread. setenv copies the strings.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(())
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_changed_beside_other_threads() {
        crate::fork::beside_a_thread(|| {
            set("RCORN_TEST", "1").unwrap_err();
            assert!(std::env::var_os("RCORN_TEST").is_none());
            unset("PATH").unwrap_err();
            assert!(std::env::var_os("PATH").is_some());
            unset("RCORN_NO_SUCH_VARIABLE").unwrap();
            move_to_heap().unwrap_err();
        });
    }
}
