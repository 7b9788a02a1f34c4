//! New settings at a reload: read, checked, and either put in force or thrown away.

use mio::Interest;
use mio::unix::SourceFd;

use rcorn_arbiter::Event;
use rcorn_log::{self as log, AccessFormat};
use rcorn_settings::{Effect, Resolved, Settings, Sources, TABLE};

use super::evaluate::Evaluation;
use super::logs::Logs;
use super::perform::policy;
use super::{Driver, EVALUATION, Pending, listeners};

impl Driver<'_> {
    /// Reads the settings again. A Python file takes its time, and all else goes on meanwhile.
    pub(super) fn load(&mut self) {
        let sources = match (self.reload)() {
            Ok(sources) => sources,
            Err(error) => return self.not_loaded(&error),
        };
        let Some(file) = sources.python_file() else {
            return self.read(*sources, None);
        };
        match Evaluation::start(&file, &self.origin.arguments) {
            Ok(evaluation) => {
                let answer = evaluation.descriptor();
                let watched = self.poll.registry().register(
                    &mut SourceFd(&answer),
                    EVALUATION,
                    Interest::READABLE,
                );
                if let Err(error) = watched {
                    log::error(format_args!("cannot wait for the config file: {error}"));
                }
                self.loading = Some((sources, evaluation));
                // It may have answered before it was watched.
                self.hear_evaluation();
            }
            Err(error) => self.not_loaded(&error),
        }
    }

    /// Looks whether a Python file was evaluated.
    pub(super) fn hear_evaluation(&mut self) {
        let Some(answer) = self
            .loading
            .as_mut()
            .and_then(|(_, evaluation)| evaluation.hear())
        else {
            return;
        };
        let Some((sources, _)) = self.loading.take() else {
            return;
        };
        match answer {
            Ok(answer) => self.read(*sources, Some(&answer)),
            Err(error) => self.not_loaded(&error),
        }
    }

    fn read(&mut self, sources: Sources<'_>, answer: Option<&str>) {
        match sources.resolve(answer) {
            Ok(resolved) => self.check(resolved),
            Err(error) => self.not_loaded(&error),
        }
    }

    /// Sockets for new addresses are opened at once, so that a failure shows before anything changes.
    fn check(&mut self, resolved: Resolved) {
        for warning in &resolved.warnings {
            log::warning(format_args!("{warning}"));
        }
        let settings = resolved.settings;
        let checked = AccessFormat::compile(&settings.access_log_format)
            .map_err(|error| format!("--access-logformat: {error}"))
            .and_then(|_format| {
                std::env::set_current_dir(&settings.chdir).map_err(|error| {
                    format!("cannot change to {}: {error}", settings.chdir.display())
                })
            })
            .and_then(|()| {
                listeners::plan(&settings, &self.listeners).map_err(|error| error.to_string())
            });
        let event = match checked {
            Ok(plan) => {
                let policy = policy(&settings);
                self.pending = Some(Pending {
                    settings,
                    plan,
                    generation: None,
                });
                Event::Loaded(policy)
            }
            Err(text) => {
                drop(std::env::set_current_dir(&self.settings.chdir));
                Event::NotLoaded(text)
            }
        };
        self.queue.push_back(event);
    }

    fn not_loaded(&mut self, error: &rcorn_settings::Error) {
        if let Some(detail) = error.detail() {
            log::error(format_args!("{}", detail.trim_end()));
        }
        let hint = error
            .hint()
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        self.queue
            .push_back(Event::NotLoaded(format!("{error}{hint}")));
    }

    /// The old settings stay.
    pub(super) fn discard(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        pending.plan.discard();
        if !same_logs(&pending.settings, &self.settings) {
            let back = Logs::open(&self.settings).and_then(|logs| {
                logs.use_here(&self.settings)
                    .map_err(|error| error.to_string())?;
                Ok(logs)
            });
            match back {
                Ok(logs) => self.logs = logs,
                Err(error) => {
                    log::error(format_args!("cannot go back to the old log files: {error}"));
                }
            }
        }
    }

    pub(super) fn commit(&mut self) {
        let Some(Pending { settings, plan, .. }) = self.pending.take() else {
            return;
        };
        let shown = |listeners: &[super::Listener], settings| -> Vec<String> {
            let shown = listeners.iter().map(|listener| listener.shown(settings));
            shown.collect()
        };
        let before = shown(&self.listeners, &self.settings);
        plan.commit(&mut self.listeners);
        let after = shown(&self.listeners, &settings);
        if before != after {
            log::info(format_args!(
                "Listening at: {} ({})",
                after.join(","),
                std::process::id()
            ));
        }
        let changed: Vec<&str> = TABLE
            .iter()
            .filter(|row| {
                row.effect == Effect::Boot && (row.value)(&settings) != (row.value)(&self.settings)
            })
            .map(|row| row.name)
            .collect();
        if !changed.is_empty() {
            log::warning(format_args!(
                "These settings keep their values until a restart: {}",
                changed.join(", ")
            ));
        }
        let before = std::mem::replace(&mut self.settings, settings);
        self.renew_watch(&before);
    }
}

/// Whether both name the same log files, for the same owner.
pub(super) fn same_logs(one: &Settings, other: &Settings) -> bool {
    one.errorlog == other.errorlog
        && one.accesslog == other.accesslog
        && one.loglevel == other.loglevel
        && one.user == other.user
        && one.group == other.group
}
