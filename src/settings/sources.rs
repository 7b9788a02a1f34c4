//! All sources of settings, in rising precedence: defaults, configuration file, environment
//! variables, command lines in variables, command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use super::argv::{CommandLine, Given};
use super::config::{ConfigFile, USUAL};
use super::environment::{self, Environment};
use super::error::Error;
use super::evaluated::{self, PythonFile};
use super::file::{FileValue, Reading};
use super::gunicorn_compat::UnsupportedValues;
use super::origin::{Origin, Origins};
use super::rows::{Layer, Settings, TABLE};
use super::{argv, check, help, shell, yaml};

/// The settings in force, and their origins.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// The origin of each value.
    pub origins: Origins,
    /// Warnings, one line each.
    pub warnings: Vec<String>,
}

/// What command line and environment ask for.
#[derive(Debug)]
pub enum Invocation<'a> {
    /// Serve, or what else the settings say.
    Serve(Box<Sources<'a>>),
    /// Print this text on standard output.
    Print(String),
    /// Print the page of the manual with this name.
    Generate(String),
}

/// The settings of all sources but the configuration file, and the file that is to be read.
pub struct Sources<'a> {
    environment: &'a Environment<'a>,
    /// The directory in which rcorn was started.
    directory: PathBuf,
    /// In rising order of precedence.
    layers: Vec<(Layer, Origin)>,
    /// Those of the command lines.
    unsupported: UnsupportedValues,
    warnings: Vec<String>,
    config: Option<ConfigFile>,
    /// Whether a source names the file; otherwise it was found in the directory.
    named: bool,
    python: Option<PathBuf>,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Sources");
        shown.field("config", &self.config).finish_non_exhaustive()
    }
}

/// The variables that hold a command line, in rising order of precedence.
const COMMAND_LINES: [&str; 2] = ["GUNICORN_CMD_ARGS", "RCORN_CMD_ARGS"];

/// Collects the settings of the arguments (without the name of the program) and of the environment.
/// `directory`: where rcorn was started.
///
/// # Errors
///
/// The arguments or a variable are wrong.
pub fn collect<'a>(
    arguments: impl Iterator<Item = OsString>,
    environment: &'a Environment<'a>,
    directory: PathBuf,
) -> Result<Invocation<'a>, Error> {
    // The arguments first: `--help` must help whatever is wrong elsewhere.
    let arguments = match settings_of(argv::read(arguments)?) {
        Ok(given) => given,
        Err(instead) => return Ok(instead),
    };
    let mut warnings = Vec::new();
    let mut unsupported = UnsupportedValues::default();
    let mut layers = environment::layers(environment, &mut warnings)?;
    for variable in COMMAND_LINES {
        let Some(line) = environment::non_empty(environment, variable) else {
            continue;
        };
        let words = shell::split(&line).map_err(|what| Error::Quoting { variable, what })?;
        let line =
            argv::read(words.into_iter().map(OsString::from)).map_err(|error| Error::Within {
                variable,
                error: Box::new(error),
            })?;
        match settings_of(line) {
            Ok(given) => {
                let notes = given.warnings.into_iter();
                warnings.extend(notes.map(|note| format!("{variable}: {note}")));
                layers.push((given.layer, Origin::Environment(variable)));
                for value in given.unsupported {
                    unsupported.add(value, Origin::Environment(variable));
                }
            }
            Err(instead) => return Ok(instead),
        }
    }
    warnings.extend(arguments.warnings);
    layers.push((arguments.layer, Origin::CommandLine));
    for value in arguments.unsupported {
        unsupported.add(value, Origin::CommandLine);
    }
    let named = layers
        .iter()
        .rev()
        .find_map(|(layer, _)| layer.config.clone().flatten());
    let is_named = named.is_some();
    let config = match named {
        Some(file) => Some(file.seen_from(&directory)),
        None => usual(&directory, &mut warnings),
    };
    let python = layers
        .iter()
        .rev()
        .find_map(|(layer, _)| layer.python.clone().flatten());
    Ok(Invocation::Serve(Box::new(Sources {
        environment,
        python: python.map(|python| check::program(&python, &directory)),
        directory,
        layers,
        unsupported,
        warnings,
        config,
        named: is_named,
    })))
}

/// The settings on a command line, or what it asks for instead of serving.
fn settings_of<'a>(line: CommandLine) -> Result<Box<Given>, Invocation<'a>> {
    match line {
        CommandLine::Serve(given) => Ok(given),
        CommandLine::Help => Err(Invocation::Print(help::help())),
        CommandLine::Version => Err(Invocation::Print(help::version())),
        CommandLine::Page(page) => Err(Invocation::Generate(page)),
    }
}

/// The file that is read if none is named.
fn usual(directory: &std::path::Path, warnings: &mut Vec<String>) -> Option<ConfigFile> {
    let mut there = USUAL
        .into_iter()
        .filter(|name| directory.join(name).is_file());
    let first = there.next()?;
    if let Some(second) = there.next() {
        warnings.push(format!("{second} is not read, because there is {first}"));
    }
    Some(ConfigFile::at(directory.join(first)))
}

impl Sources<'_> {
    /// Ignores a file that was found in the directory.
    #[must_use]
    pub fn without_usual_file(mut self) -> Self {
        if !self.named {
            self.config = None;
        }
        self
    }

    /// The configuration file, if Python must evaluate it.
    pub fn python_file(&self) -> Option<PythonFile> {
        let file = self.config.clone().filter(ConfigFile::is_python)?;
        Some(PythonFile {
            file,
            directory: self.directory.clone(),
            python: self.python.clone(),
        })
    }

    /// The settings in force. `answer`: the JSON that `evaluate.py` printed for
    /// [`python_file`](Self::python_file).
    ///
    /// # Errors
    ///
    /// The file or the settings as a whole are wrong.
    pub fn resolve(self, answer: Option<&str>) -> Result<Resolved, Error> {
        let mut settings = Settings::default();
        let mut origins = Origins::default();
        let mut warnings = Vec::new();
        let mut unsupported = UnsupportedValues::default();
        let mut worker_bases = Vec::new();
        if let Some(config) = &self.config {
            let mut reading = Reading {
                settings: &mut settings,
                origins: &mut origins,
                warnings: &mut warnings,
                unsupported: &mut unsupported,
                file: Arc::from(config.shown(&self.directory)),
                needs_python: false,
                python: config.is_python(),
            };
            match config {
                ConfigFile::Yaml(path) => read_yaml(path, self.environment, &mut reading)?,
                ConfigFile::Python(_) | ConfigFile::Module(_) => {
                    let read = evaluated::read(answer.unwrap_or_default(), &mut reading)?;
                    settings.config_is_data = read.is_data;
                    worker_bases = read.worker_bases;
                }
            }
        }
        let python = self.config.as_ref().is_some_and(ConfigFile::is_python);
        for (layer, origin) in self.layers {
            layer.lay_over(&mut settings, &mut origins, &origin);
        }
        unsupported.extend(self.unsupported);
        warnings.extend(unsupported.judge(python)?);
        if python {
            warnings.extend(overridden(&origins));
        }
        warnings.extend(self.warnings);
        settings.config = self.config;
        let directory = &self.directory;
        check::complete(
            &mut settings,
            &origins,
            &worker_bases,
            directory,
            &mut warnings,
        )?;
        Ok(Resolved {
            settings,
            origins,
            warnings,
        })
    }
}

fn read_yaml(
    path: &std::path::Path,
    environment: &Environment<'_>,
    reading: &mut Reading<'_>,
) -> Result<(), Error> {
    let file = reading.file.to_string();
    let unreadable = |source| Error::Unreadable {
        file: file.clone(),
        source,
    };
    let bytes = fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    yaml::read(&file, &text, environment, &mut |name, data, line| {
        reading.take(name, &FileValue::Data(data), line)
    })
}

/// Warnings about variables that override the file: for gunicorn they are defaults.
fn overridden(origins: &Origins) -> impl Iterator<Item = String> + '_ {
    TABLE.iter().filter_map(|row| {
        let variable = row.variable?.name;
        let history = origins.history(row.name);
        let (place, old) = history.iter().rev().find_map(|(origin, value)| match origin {
            Origin::File(..) => Some((origin, value)),
            Origin::Default | Origin::Environment(_) | Origin::CommandLine => None,
        })?;
        let (last, new) = history.last()?;
        (*last == Origin::Environment(variable) && old != new).then(|| {
            format!(
                "{variable} in the environment takes precedence over {} in {place}: {new}, not {old}",
                row.name
            )
        })
    })
}
