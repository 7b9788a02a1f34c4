//! The findings, and their text for the log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most findings that are kept, and the most that are logged.
pub(crate) const MAX_KEPT_FINDINGS: usize = 64;
const MAX_SAID_FINDINGS: usize = 5;

/// Whether an import may be shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// One import in one process cannot be told from an import in each process.
    Boring,
    /// It can, by these findings.
    Findings(Vec<Finding>),
}

impl Verdict {
    /// Whether the import may be shared.
    #[must_use]
    pub fn is_boring(&self) -> bool {
        *self == Self::Boring
    }

    /// The findings that speak against it.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Boring => &[],
            Self::Findings(findings) => findings,
        }
    }

    /// Lines for the log. The last one says how many more there are.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let findings = self.findings();
        let said = findings
            .iter()
            .take(MAX_SAID_FINDINGS)
            .map(Finding::to_string);
        let more = findings.len().saturating_sub(MAX_SAID_FINDINGS);
        let plural = if more == 1 { "" } else { "s" };
        said.chain((more > 0).then(|| format!("{more} more finding{plural} at import")))
    }
}

/// One thing that an import did, or left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The line that did it, if it is known.
    pub place: Option<Place>,
    /// The deed, as a clause without its subject: "draws a random number".
    pub what: String,
}

/// A line of Python code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Relative to the app's directory, to `site-packages` or to the standard library, if it is in
    /// one of these.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place} {} at import", self.what),
            None => write!(f, "the app's import {}", self.what),
        }
    }
}
