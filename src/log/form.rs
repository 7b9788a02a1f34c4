//! What the settings say about each log. There is one function for each log, which all processes
//! that write it call. A new setting of a log belongs here.

use rcorn_settings::{LogFormat, LogTarget, Settings};
use rcorn_types::Level;

use super::access::json::WORD;
use super::access::{AccessFormat, AccessFormatter, FormatError, JsonFields, JsonFormat, Record};
use super::formatter::{Formatter, GunicornFormatter, JsonFormatter};

/// Everything that the settings say about the error log. If two values are equal, a reload does not
/// change the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLogSettings {
    /// The destination of records.
    pub target: LogTarget,
    /// The least severe level that is written.
    pub level: Level,
    /// The form of records.
    pub form: ErrorForm,
}

impl ErrorLogSettings {
    /// The error log of these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            target: settings.errorlog.clone(),
            level: settings.loglevel,
            form: match settings.log_format {
                LogFormat::Gunicorn => ErrorForm::Gunicorn,
                LogFormat::Json => ErrorForm::Json,
            },
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
    /// One JSON object on each line.
    Json,
    /// Another form, for the tests.
    #[cfg(test)]
    Bare,
}

impl ErrorForm {
    /// All forms. A log stores an index into them, so that its form can change without a lock.
    pub(super) const ALL: &'static [Self] = &[
        Self::Gunicorn,
        Self::Json,
        #[cfg(test)]
        Self::Bare,
    ];

    /// Whether records of Python's logger `gunicorn.error` get this form. Otherwise the formatter
    /// of that logger gives them gunicorn's form, as in gunicorn.
    #[must_use]
    pub const fn is_for_python(self) -> bool {
        match self {
            Self::Gunicorn => false,
            Self::Json => true,
            #[cfg(test)]
            Self::Bare => true,
        }
    }

    /// The formatter of this form.
    pub(super) fn formatter(self) -> &'static dyn Formatter {
        match self {
            Self::Gunicorn => &GunicornFormatter,
            Self::Json => &JsonFormatter,
            #[cfg(test)]
            Self::Bare => &super::tests::BareFormatter,
        }
    }
}

/// The form of a record of the access log. To add one, add a variant and select it in
/// [`AccessForm::of`]. Workers write records, and so does the arbiter for a request whose worker
/// died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessForm {
    /// A line in the format of `access_log_format`.
    Line(AccessFormat),
    /// The same, if that format is JSON.
    JsonLine(JsonFormat),
    /// JSON with rcorn's own members.
    Json(JsonFields),
}

impl AccessForm {
    /// The form that these settings select.
    ///
    /// # Errors
    ///
    /// `access_log_format` is malformed.
    pub fn of(settings: &Settings) -> Result<Self, FormatError> {
        let format = &settings.access_log_format;
        if format.trim() == WORD {
            return Ok(Self::Json(JsonFields));
        }
        let format = AccessFormat::compile(format)?;
        Ok(match JsonFormat::of(&format) {
            Some(json) => Self::JsonLine(json),
            None => Self::Line(format),
        })
    }
}

impl AccessFormatter for AccessForm {
    fn format(&self, record: &impl Record, out: &mut Vec<u8>) {
        match self {
            Self::Line(format) => format.format(record, out),
            Self::JsonLine(format) => format.format(record, out),
            Self::Json(fields) => fields.format(record, out),
        }
    }
}
