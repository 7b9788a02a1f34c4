//! Certificates whose files have changed: they are read again, and offered to the fronts. They are
//! in force when all fronts have taken them.

use rcorn_front_link::Tls;
use rcorn_log as log;
use rcorn_types::{Monotonic, with_remedy};

use super::certificates::{Reading, files};
use super::context::Context;
use super::watch::CertificateWatch;

/// The renewal of certificates.
#[derive(Debug, Default)]
pub(crate) struct Renewals {
    watch: CertificateWatch,
    stage: Stage,
    /// How many were not taken.
    pub(super) refused: u64,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing has changed.
    #[default]
    Quiet,
    /// They are being read.
    Reading(Reading),
    /// So many fronts have not said yet whether they take them.
    Offered(Box<Tls>, usize),
}

impl Renewals {
    /// Looks at the files of these settings from now on.
    pub(super) fn watch(&mut self, context: &Context<'_>) {
        self.watch = CertificateWatch::new(files(context.settings), context.now);
    }

    pub(super) fn watch_nothing(&mut self) {
        self.watch = CertificateWatch::default();
    }

    /// Gives up what is being read or offered.
    pub(super) fn give_up(&mut self) {
        self.stage = Stage::Quiet;
    }

    /// Whoever was offered certificates has to decide again.
    pub(super) fn take_offer_back(&mut self) {
        if let Stage::Offered(..) = self.stage {
            self.stage = Stage::Quiet;
        }
    }

    /// When [`Self::poll`] has something to do.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let reading = match &self.stage {
            Stage::Reading(reading) => Some(reading.deadline()),
            Stage::Quiet | Stage::Offered(..) => None,
        };
        self.watch.deadline().into_iter().chain(reading).min()
    }

    /// Looks whether files have changed, and returns what was read of them.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Option<Tls> {
        if self.watch.look(context.now) {
            let reading = Reading::start(context.settings).and_then(|reading| {
                reading.register(context.registry, context.token)?;
                Ok(reading)
            });
            match reading {
                Ok(reading) => self.stage = Stage::Reading(reading),
                Err(error) => self.refuse(&with_remedy(&error)),
            }
        }
        let Stage::Reading(reading) = &mut self.stage else {
            return None;
        };
        let read = reading.poll(context.now)?;
        self.stage = Stage::Quiet;
        read.map_err(|reason| self.refuse(&reason)).ok()
    }

    /// So many fronts have been offered these.
    pub(super) fn offer(&mut self, tls: Tls, fronts: usize) {
        self.stage = Stage::Offered(Box::new(tls), fronts);
    }

    /// A front has answered whether it takes what it was offered. Returns what all have taken.
    pub(super) fn answered(&mut self, refused: Option<String>) -> Option<Tls> {
        match (std::mem::take(&mut self.stage), refused) {
            (Stage::Offered(..), Some(reason)) => self.refuse(&reason),
            (Stage::Offered(tls, left), None) if left > 1 => {
                self.stage = Stage::Offered(tls, left.saturating_sub(1));
            }
            (Stage::Offered(tls, _), None) => {
                log::info(format_args!(
                    "The certificates have changed, and are in force."
                ));
                return Some(*tls);
            }
            (stage, None) => self.stage = stage,
            (stage, Some(reason)) => {
                log::error(format_args!("Fronts keep their configuration: {reason}"));
                self.stage = stage;
            }
        }
        None
    }

    fn refuse(&mut self, reason: &str) {
        self.refused = self.refused.saturating_add(1);
        log::error(format_args!(
            "The files of certificates have changed, and cannot be used; those before stay: {reason}"
        ));
    }
}
