//! What operators order about the number of workers. A reload brings the number of its settings; an
//! order that came after the reload's is not forgotten with the number before.

use serde::{Deserialize, Serialize};

/// How the number of workers differs from that of the settings, by orders since the last HUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Resize {
    /// TTIN and TTOU: more, or fewer.
    By(i32),
    /// WINCH, or `rcorn ctl scale`: this number, whatever the settings say.
    To(u32),
}

impl Default for Resize {
    /// No order has come.
    fn default() -> Self {
        Self::By(0)
    }
}

impl Resize {
    /// TTIN.
    pub(super) fn add_one(&mut self) {
        *self = match *self {
            Self::By(more) => Self::By(more.saturating_add(1)),
            Self::To(count) => Self::To(count.saturating_add(1)),
        };
    }

    /// TTOU.
    pub(super) fn take_one(&mut self) {
        *self = match *self {
            Self::By(more) => Self::By(more.saturating_sub(1)),
            Self::To(count) => Self::To(one_fewer(count)),
        };
    }

    /// How many workers there are to be with settings that say `workers`.
    pub(super) fn of(self, workers: u32) -> u32 {
        match self {
            Self::By(more) => workers.saturating_add_signed(more).max(1),
            Self::To(count) => count,
        }
    }
}

/// One worker fewer, but never none; a server whose workers were all dismissed stays without.
pub(super) fn one_fewer(count: u32) -> u32 {
    count.saturating_sub(1).max(1).min(count)
}
