//! The type of a row of the settings table, and the macro that generates the structs and the table
//! from the rows. Command line, environment, help text, files and manual are made from the table.
//!
//! No setting is named here: rcorn's are in `rows`, those that only gunicorn has in
//! `gunicorn_compat`. Whatever is special about a setting is an attribute of its row.

use super::literal::Literal;
use super::refusal::{Bounds, Refused};

/// One row of the table. `S` is the struct of all settings, `L` that of one source.
#[derive(Debug)]
pub struct Row<S, L> {
    /// Its name: the key in a configuration file.
    pub name: &'static str,
    /// Its heading in help and manual.
    pub section: Section,
    /// When a changed value takes effect.
    pub effect: Effect,
    /// Its flags, the preferred one first.
    pub flags: &'static [Flag],
    /// The name of the positional argument, if it is one.
    pub positional: Option<&'static str>,
    /// The environment variable that changes its default.
    pub variable: Option<Variable>,
    /// The placeholder for the value in usage texts.
    pub value_name: &'static str,
    /// A description of its values, in words.
    pub noun: &'static str,
    /// The limits of a number.
    pub bounds: Bounds,
    /// The character that separates the items of a list within one text.
    pub separator: Option<char>,
    /// The form of its value in a data file.
    pub shape: Shape,
    /// How a shell completes its value.
    pub completes: Completes,
    /// How a `gunicorn.conf.py` and its hooks treat its name.
    pub in_python: InPython,
    /// All valid words, if they can be listed.
    pub choices: &'static [&'static str],
    /// Its documentation: the doc comment of its row, line by line.
    pub doc: &'static str,
    /// Its default in the form of the command line; empty if there is none.
    pub default: fn() -> String,
    /// Its value in these settings, in the form of the command line.
    pub value: fn(&S) -> String,
    /// Its value in these settings, as Python has it.
    pub literal: fn(&S) -> Literal,
    /// Reads texts, in the order given, into a layer; returns a remark if a value was changed.
    pub(super) read: Read<S, L>,
}

/// The type of [`Row::read`].
type Read<S, L> = fn(&Row<S, L>, &mut L, &[&str]) -> Result<Option<String>, Refused>;

impl<S, L: Default> Row<S, L> {
    /// Reads texts into a layer. A refusal without a hint gets the summary of the setting as its
    /// hint.
    pub(super) fn read(&self, layer: &mut L, texts: &[&str]) -> Result<Option<String>, Refused> {
        (self.read)(self, layer, texts).map_err(|mut refused| {
            refused.hint.get_or_insert_with(|| self.explained());
            refused
        })
    }

    /// Checks texts as its value; returns the remark of [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// Why they are refused.
    pub fn check(&self, texts: &[&str]) -> Result<Option<String>, Refused> {
        self.read(&mut L::default(), texts)
    }
}

impl<S, L> Row<S, L> {
    /// The paragraphs of the documentation, each on one line.
    pub fn paragraphs(&self) -> Vec<String> {
        let mut paragraphs = vec![String::new()];
        for line in self.doc.lines().map(str::trim) {
            match paragraphs.last_mut() {
                Some(last) if line.is_empty() && !last.is_empty() => paragraphs.push(String::new()),
                Some(last) => {
                    last.push_str(if last.is_empty() { "" } else { " " });
                    last.push_str(line);
                }
                None => {}
            }
        }
        paragraphs.retain(|paragraph| !paragraph.is_empty());
        paragraphs
    }

    /// The first paragraph of the documentation, without marks.
    pub fn summary(&self) -> String {
        let first = self.paragraphs().into_iter().next();
        first.unwrap_or_default().replace('`', "")
    }

    /// Whether one of its flags takes a value.
    pub fn takes_value(&self) -> bool {
        self.flags.iter().any(|flag| flag.sets.is_none())
    }

    /// The first sentence, and the default.
    pub(super) fn explained(&self) -> String {
        let summary = self.summary();
        let sentence = summary
            .split_inclusive(". ")
            .next()
            .unwrap_or_default()
            .trim_end();
        match (self.default)() {
            default if default.is_empty() => sentence.to_owned(),
            default => format!("{sentence} The default is {default}."),
        }
    }
}

/// One flag of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without the two dashes.
    pub long: &'static str,
    /// Without the dash.
    pub short: Option<char>,
    /// The value of a flag that takes none; `None` if the flag takes a value.
    pub sets: Option<&'static str>,
    /// The value of a flag whose value is optional, if none is given; `None` if it is required.
    pub bare: Option<&'static str>,
}

/// An environment variable that changes the default of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it contains.
    pub form: VariableForm,
    /// Its entry in the manual, if it is more than the default of the setting.
    pub doc: Option<&'static str>,
}

/// What a variable contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableForm {
    /// A value of the setting.
    Value,
    /// A port alone, of all IPv4 addresses.
    Port,
    /// `true`, `yes`, `y` or `1` in any case; anything else is no.
    YesOrNo,
}

/// The form of a value in YAML, and in the JSON of a Python file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One text.
    Text,
    /// True or false.
    Switch,
    /// A whole number; a fraction is dropped, as gunicorn does for a computed number.
    Count,
    /// One text, or a list whose items are joined by commas.
    Joined,
    /// `NAME=VALUE`.
    Pair,
    /// A list of texts.
    List,
    /// A list of pairs, or a mapping.
    Pairs,
    /// A mapping of names to values.
    Mapping,
}

/// How a shell completes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completes {
    /// Nothing, or the setting's choices.
    Nothing,
    /// The path of a file.
    Path,
    /// The path of a directory.
    Directory,
    /// The name of a user.
    User,
}

/// How a `gunicorn.conf.py` and its hooks treat the name of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPython {
    /// Like the setting's type.
    Typed,
    /// Hooks get its pairs as a dict.
    Dict,
    /// gunicorn has no such setting, and the name is common: a function or module of that name does
    /// not set it.
    CommonName,
}

/// The headings of the help text and of the manual, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The app and its interpreter.
    App,
    /// Listening sockets.
    Sockets,
    /// The number of workers, and when they are replaced.
    Workers,
    /// Requests and connections.
    Http,
    /// Proxies in front of rcorn.
    Proxies,
    /// TLS and HTTP/2.
    Tls,
    /// Static files.
    Files,
    /// The process and its host.
    Host,
    /// Logs.
    Logs,
    /// Metrics, health and status.
    Monitoring,
}

impl Section {
    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::App => "App",
            Self::Sockets => "Sockets",
            Self::Workers => "Workers",
            Self::Http => "HTTP",
            Self::Proxies => "Proxies",
            Self::Tls => "TLS and HTTP/2",
            Self::Files => "Static files",
            Self::Host => "Host",
            Self::Logs => "Logs",
            Self::Monitoring => "Monitoring",
        }
    }
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// When rcorn is restarted.
    Boot,
    /// With the next generation: HUP.
    Reload,
}

impl Effect {
    /// The end of the sentence "A change takes effect …".
    pub const fn when(self) -> &'static str {
        match self {
            Self::Boot => "when rcorn is restarted",
            Self::Reload => "at a reload (HUP, or `rcorn ctl reload`)",
        }
    }
}

/// Turns the rows into `Settings`, `Layer` and `TABLE`.
///
/// A row is its doc comment, `name: Type = default => Section, Effect`, then, in this order, what
/// applies of: `bounds`, `split` (the separator of a list), `named` and `completes` (instead of
/// what the type says), `positional`, `in_python`, `variable NAME` (`as FORM DOC`), and any number
/// of flags.
macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty = $default:expr => $section:ident, $effect:ident
        $(, bounds $bounds:expr)?
        $(, split $separator:literal)?
        $(, named $value_name:literal)?
        $(, completes $completes:ident)?
        $(, positional $positional:literal)?
        $(, in_python $in_python:ident)?
        $(, variable $variable:literal $(as $form:ident $about:literal)?)?
        $(, flag $long:literal $($short:literal)? $(sets $fixed:literal)? $(bare $bare:literal)?)*;
    )+) => {
        /// Every setting with its value.
        ///
        /// As JSON it travels between builds (the hand-over of an upgrade) and to templates and
        /// workers. A build may have settings that the other one lacks: a missing one has its
        /// default, and an unknown one is ignored, so that adding or removing a row breaks no
        /// upgrade.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $type,)+
            /// Not a setting, and not in the table: `config` is a Python file that does nothing
            /// but set settings, so that no template has to execute it.
            pub config_is_data: bool,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ config_is_data: false }
            }
        }

        /// The settings that one source sets. A source can set a setting to `None`, which is not
        /// the same as not setting it: hence options of options.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Layer {
            $($(#[doc = $doc])+ pub $name: Option<$type>,)+
        }

        impl Layer {
            /// Writes these values over those of earlier sources, and records the origin of each.
            pub fn lay_over(self, settings: &mut Settings, origins: &mut Origins, origin: &Origin) {
                $(if let Some(value) = self.$name {
                    origins.record(stringify!($name), origin, <$type as Value>::show(&value));
                    settings.$name = value;
                })+
            }
        }

        /// All settings, by section.
        pub const TABLE: &[Setting] = &[$(Setting {
            name: stringify!($name),
            section: Section::$section,
            effect: Effect::$effect,
            flags: &[$(Flag {
                long: $long,
                short: first![$(Some($short),)? None],
                sets: first![$(Some($fixed),)? None],
                bare: first![$(Some($bare),)? None],
            },)*],
            positional: first![$(Some($positional),)? None],
            variable: first![$(Some(Variable {
                name: $variable,
                form: first![$(VariableForm::$form,)? VariableForm::Value],
                doc: first![$(Some($about),)? None],
            }),)? None],
            value_name: first![$($value_name,)? <$type as Value>::VALUE_NAME],
            noun: <$type as Value>::NOUN,
            bounds: first![$($bounds,)? Bounds::NONE],
            separator: first![$(Some($separator),)? None],
            shape: <$type as Value>::SHAPE,
            completes: first![$(Completes::$completes,)? <$type as Value>::COMPLETES],
            in_python: first![$(InPython::$in_python,)? InPython::Typed],
            choices: <$type as Value>::CHOICES,
            doc: concat!($($doc, "\n"),+),
            default: || <$type as Value>::show(&$default),
            value: |settings| <$type as Value>::show(&settings.$name),
            literal: |settings| <$type as Value>::literal(&settings.$name),
            read: |row, layer, texts| {
                let (value, remark) = <$type as Value>::parse_all(texts, row.bounds, row.separator)?;
                layer.$name = Some(value);
                Ok(remark)
            },
        },)+];
    };
}

/// The first argument: an optional one if given, else the fall-back that stands last.
macro_rules! first {
    ($one:expr) => {
        $one
    };
    ($one:expr, $($rest:expr),+) => {
        $one
    };
}

pub(super) use {first, settings};
