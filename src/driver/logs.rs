//! The destinations of the logs: descriptors that are opened here, and that templates and workers
//! inherit under the same numbers. The form of a record is the log crate's.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rcorn_log::{self as log, ErrorLogSettings};
use rcorn_settings::{LogTarget, Settings};
use rcorn_sys::descriptor::duplicate;
use rcorn_types::with_remedy;

use super::owner::Owner;

/// The descriptors that children inherit.
#[derive(Debug)]
pub(super) struct Logs {
    error: OwnedFd,
    access: Option<OwnedFd>,
}

/// Everything that the settings say about the arbiter's logs, except the form of the access log,
/// for which each process asks its own settings.
#[derive(Debug, PartialEq, Eq)]
struct LogSettings<'a> {
    error: ErrorLogSettings,
    access: Option<&'a LogTarget>,
    /// Who owns new files.
    user: Option<&'a str>,
    group: Option<&'a str>,
}

impl<'a> LogSettings<'a> {
    fn of(settings: &'a Settings) -> Self {
        Self {
            error: ErrorLogSettings::of(settings),
            access: settings.accesslog.as_ref(),
            user: settings.user.as_deref(),
            group: settings.group.as_deref(),
        }
    }
}

/// Whether both settings name the same logs.
pub(super) fn are_same(one: &Settings, other: &Settings) -> bool {
    LogSettings::of(one) == LogSettings::of(other)
}

impl Logs {
    /// Opens what the settings name.
    ///
    /// # Errors
    ///
    /// A file cannot be opened; as one line.
    pub(super) fn open(settings: &Settings, owner: Owner) -> Result<Self, String> {
        let owner = owner.if_other();
        let one = |target: &LogTarget, standard: RawFd| match target {
            LogTarget::Standard => {
                duplicate(standard).map_err(|error| format!("standard output is closed: {error}"))
            }
            LogTarget::File(path) => log::open(path, owner).map_err(|error| error.in_full()),
        };
        let error = one(&settings.errorlog, 2)?;
        let access = settings
            .accesslog
            .as_ref()
            .map(|target| one(target, 1))
            .transpose()?;
        Ok(Self { error, access })
    }

    /// Opens what the settings name, and logs there from now on.
    ///
    /// # Errors
    ///
    /// As [`Logs::open`].
    pub(super) fn start(settings: &Settings, owner: Owner) -> Result<Self, String> {
        let logs = Self::open(settings, owner)?;
        let failed =
            |error: io::Error| format!("cannot open the error log: {}", with_remedy(&error));
        let error = logs.error.try_clone().map_err(failed)?;
        log::init(
            error,
            &ErrorLogSettings::of(settings),
            log::ARBITER_PATIENCE,
        )
        .map_err(failed)?;
        Ok(logs)
    }

    /// Opens the files by their names again, after they were renamed.
    pub(super) fn reopen(&mut self, settings: &Settings, owner: Owner) {
        log::reopen();
        // Templates that start later inherit these. And workers without privileges can open these
        // files in a directory where they may not create any.
        match Self::open(settings, owner) {
            Ok(logs) => *self = logs,
            Err(error) => log::error(format_args!("{error}")),
        }
    }

    /// The access log, if there is one.
    pub(super) fn access(&self) -> Option<&OwnedFd> {
        self.access.as_ref()
    }

    /// The numbers that children inherit: error log, access log.
    pub(super) fn numbers(&self) -> (RawFd, Option<RawFd>) {
        (
            self.error.as_raw_fd(),
            self.access.as_ref().map(AsRawFd::as_raw_fd),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_log_makes_a_difference() {
        let settings = Settings::default();
        assert!(are_same(&settings, &settings.clone()));
        let file = LogTarget::File("x".into());
        let changes: [fn(&mut Settings, LogTarget); 5] = [
            |settings, file| settings.errorlog = file,
            |settings, file| settings.accesslog = Some(file),
            |settings, _| settings.loglevel = rcorn_settings::Level::Debug,
            |settings, _| settings.user = Some("nobody".to_owned()),
            |settings, _| settings.group = Some("nogroup".to_owned()),
        ];
        for change in changes {
            let mut other = settings.clone();
            change(&mut other, file.clone());
            assert!(!are_same(&settings, &other), "{other:?}");
        }
    }
}
