//! What the settings say of each log: one function for each makes it from the settings, and all
//! processes that write the log call that function. A new setting of a log has its place here.

use rcorn_settings::{LogTarget, Settings};
use rcorn_types::Level;

use super::access::{AccessFormat, AccessFormatter, FormatError, Record};
use super::formatter::{Formatter, GunicornFormatter};

/// Everything that the settings say of the error log. Two that are equal need no change of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLogSettings {
    /// Where records go.
    pub target: LogTarget,
    /// The level from which on they are written.
    pub level: Level,
    /// Their form.
    pub form: ErrorForm,
}

impl ErrorLogSettings {
    /// The error log of these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            target: settings.errorlog.clone(),
            level: settings.loglevel,
            form: ErrorForm::Gunicorn,
        }
    }
}

/// The forms of a record of the error log. To add one, add it to [`ErrorForm::ALL`] and select it
/// in [`ErrorLogSettings::of`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorForm {
    /// gunicorn's lines.
    #[default]
    Gunicorn,
    /// Another form, for the tests.
    #[cfg(test)]
    Bare,
}

impl ErrorForm {
    /// All of them. A log keeps the index, so that a form can change without a lock.
    pub(super) const ALL: &'static [Self] = &[
        Self::Gunicorn,
        #[cfg(test)]
        Self::Bare,
    ];

    /// What writes records in this form.
    pub(super) fn formatter(self) -> &'static dyn Formatter {
        match self {
            Self::Gunicorn => &GunicornFormatter,
            #[cfg(test)]
            Self::Bare => &super::tests::BareFormatter,
        }
    }
}

/// The form of a record of the access log. To add one, add a variant and select it in
/// [`AccessForm::of`]: workers write it, and the arbiter for a request whose worker died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessForm {
    /// A line in the format of `access_log_format`.
    Line(AccessFormat),
}

impl AccessForm {
    /// The form that these settings select.
    ///
    /// # Errors
    ///
    /// What is wrong with `access_log_format`.
    pub fn of(settings: &Settings) -> Result<Self, FormatError> {
        AccessFormat::compile(&settings.access_log_format).map(Self::Line)
    }
}

impl AccessFormatter for AccessForm {
    fn format(&self, record: &impl Record, out: &mut Vec<u8>) {
        match self {
            Self::Line(format) => format.format(record, out),
        }
    }
}
