//! Where log lines go: opened here, inherited by templates and workers under the same numbers.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rcorn_log as log;
use rcorn_settings::{LogTarget, Settings};
use rcorn_sys::process::duplicate;
use rcorn_sys::user::Identity;

/// The descriptors that children inherit.
#[derive(Debug)]
pub(super) struct Logs {
    error: OwnedFd,
    access: Option<OwnedFd>,
}

impl Logs {
    /// Opens what the settings name.
    pub(super) fn open(settings: &Settings) -> Result<Self, String> {
        let identity = Identity::find(settings.user.as_deref(), settings.group.as_deref());
        let identity = identity.map_err(|error| error.to_string())?;
        // Workers must be able to open the file again after they gave up their rights.
        let owner = (!identity.is_current()).then_some((identity.uid, identity.gid));
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

    /// This process logs there from now on.
    pub(super) fn use_here(&self, settings: &Settings) -> std::io::Result<()> {
        log::init(
            self.error.try_clone()?,
            settings.errorlog.path(),
            settings.loglevel,
        );
        Ok(())
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
