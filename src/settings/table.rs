//! What a row of the settings table is, and the macro that turns the rows into everything made from them.
//!
//! No setting is named here: they are in `rows`, those of gunicorn that rcorn has not in `known`. Read by the
//! command line, the environment, the help text, and later by the configuration file and the manual.

use super::literal::Literal;
use super::rows::{Layer, Settings};
use super::value::{Bounds, Refused};

/// One row of the table.
#[derive(Debug)]
pub struct Setting {
    /// Its name, as in a configuration file.
    pub name: &'static str,
    /// Under which heading it is found.
    pub section: Section,
    /// When a changed value takes effect.
    pub effect: Effect,
    /// The flags that give it, the preferred one first.
    pub flags: &'static [Flag],
    /// The environment variable that changes its default.
    pub variable: Option<&'static str>,
    /// What stands for the value in the usage text.
    pub value_name: &'static str,
    /// What a value must be, in words.
    pub noun: &'static str,
    /// The limits of a number.
    pub bounds: Bounds,
    /// What separates the parts of a list within one text.
    pub separator: Option<char>,
    /// All words that are allowed, when they can be counted.
    pub choices: &'static [&'static str],
    /// It has several parts, each given on its own.
    pub list: bool,
    /// Its documentation: the comment of its row, line by line.
    pub doc: &'static str,
    /// Its default, as one would type it; empty when there is none.
    pub default: fn() -> String,
    /// Its value in these settings, as one would type it.
    pub value: fn(&Settings) -> String,
    /// Its value in these settings, as Python would have it.
    pub literal: fn(&Settings) -> Literal,
    /// Reads texts, in the order given, into a layer. A value that was changed to fit is told about.
    pub(super) read: Read,
}

/// Texts into a layer.
type Read = fn(&Setting, &mut Layer, &[&str]) -> Result<Option<String>, Refused>;

impl Setting {
    /// Reads texts into a layer; a refusal without a way out of its own gets what is known about the setting.
    pub(super) fn read(
        &self,
        layer: &mut Layer,
        texts: &[&str],
    ) -> Result<Option<String>, Refused> {
        (self.read)(self, layer, texts).map_err(|mut refused| {
            refused.hint.get_or_insert_with(|| self.explained());
            refused
        })
    }

    /// Whether texts would be taken as its value, and what would be said about them.
    pub fn check(&self, texts: &[&str]) -> Result<Option<String>, Refused> {
        self.read(&mut Layer::default(), texts)
    }

    /// The first paragraph of the documentation, without marks.
    pub fn summary(&self) -> String {
        let lines = self
            .doc
            .lines()
            .map(str::trim)
            .take_while(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ").replace('`', "")
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
    /// With two dashes before it.
    pub long: &'static str,
    /// With one dash before it.
    pub short: Option<char>,
    /// The text that the mere flag stands for; `None` when a value follows.
    pub sets: Option<&'static str>,
    /// The text that the flag stands for when no value follows; `None` when one must follow.
    pub bare: Option<&'static str>,
}

/// The headings of the help text and of the manual, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The app and the interpreter.
    App,
    /// What is listened on.
    Sockets,
    /// How many workers, and how long they live.
    Workers,
    /// What a request may be.
    Http,
    /// Who stands in front of us.
    Proxies,
    /// Our place in the system.
    Host,
    /// What is written where.
    Logs,
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
            Self::Host => "Host",
            Self::Logs => "Logs",
        }
    }
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// When rcorn is started anew.
    Boot,
    /// With the next generation: HUP.
    Reload,
    /// With the next executable: USR2.
    Upgrade,
}

/// Turns the rows into `Settings`, `Layer` and `TABLE`.
///
/// A row is its documentation, `name: Type = default => Section, Effect`, then what applies of `bounds`,
/// `split` (lists), `named` (instead of the type's own value name), `variable` and any number of flags.
macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty = $default:expr => $section:ident, $effect:ident
        $(, bounds $bounds:expr)?
        $(, split $separator:literal)?
        $(, named $value_name:literal)?
        $(, variable $variable:literal)?
        $(, flag $long:literal $($short:literal)? $(sets $fixed:literal)? $(bare $bare:literal)?)*;
    )+) => {
        /// Every setting with its value: what the operator wants.
        ///
        /// As JSON it travels between builds (the hand-over of an upgrade) and to templates and workers.
        /// A build may have settings that the other one lacks: a missing one has its default, and an
        /// unknown one is passed over, so that adding or removing a row breaks no upgrade.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// What one source says: only what it names. A setting can be named as nothing, which is not the same
        /// as not being named: hence options of options.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Layer {
            $($(#[doc = $doc])+ pub $name: Option<$type>,)+
        }

        impl Layer {
            /// Lays this over what was said before, and notes where each value is from.
            pub fn lay_over(self, settings: &mut Settings, origins: &mut Origins, origin: &Origin) {
                $(if let Some(value) = self.$name {
                    origins.note(stringify!($name), origin, <$type as Value>::show(&value));
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
            variable: first![$(Some($variable),)? None],
            value_name: first![$($value_name,)? <$type as Value>::VALUE_NAME],
            noun: <$type as Value>::NOUN,
            bounds: first![$($bounds,)? Bounds::NONE],
            separator: first![$(Some($separator),)? None],
            choices: <$type as Value>::CHOICES,
            list: <$type as Value>::LIST,
            doc: concat!($($doc, "\n"),+),
            default: || <$type as Value>::show(&$default),
            value: |settings| <$type as Value>::show(&settings.$name),
            literal: |settings| <$type as Value>::literal(&settings.$name),
            read: |row, layer, texts| {
                let (value, note) = <$type as Value>::gather(texts, row.bounds, row.separator)?;
                layer.$name = Some(value);
                Ok(note)
            },
        },)+];
    };
}

/// What was given, else the fall-back that stands last.
macro_rules! first {
    ($one:expr) => {
        $one
    };
    ($one:expr, $($rest:expr),+) => {
        $one
    };
}

pub(super) use {first, settings};
