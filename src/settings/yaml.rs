//! `rcorn.yaml`. The only place that knows the YAML library.
//!
//! A mapping of settings to values. In `!env "text with ${NAME}"` variables of the environment are
//! expanded, nowhere else. A name that is unknown or set twice is an error with its place.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::Value as Data;

use super::environment::Environment;
use super::error::Error;
use super::file::{is_known, nearest};

/// Receives each pair with its line.
type Take<'a> = dyn FnMut(&str, Data, Option<u32>) -> Result<(), Error> + 'a;

/// Reads a text and passes on each of its pairs. Errors have their place.
pub(super) fn read(
    file: &str,
    text: &str,
    environment: &Environment<'_>,
    take: &mut Take<'_>,
) -> Result<(), Error> {
    // Some editors write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let refused = RefCell::new(None);
    let root = Root {
        text,
        environment,
        take: RefCell::new(take),
        refused: &refused,
    };
    let read = root.deserialize(serde_yaml::Deserializer::from_str(text));
    read.map_err(|error| {
        let place = error.location().map_or_else(
            || file.to_owned(),
            |place| format!("{file}:{}:{}", place.line(), place.column()),
        );
        let error = refused.take().unwrap_or_else(|| Error::Yaml(plain(&error)));
        Error::InFile {
            place,
            error: Box::new(error),
            python: false,
        }
    })
}

/// The message of the library without the place, which rcorn puts in front.
fn plain(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    text.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The line of a setting: a pair of the outermost mapping begins its line.
fn line_of(text: &str, name: &str) -> Option<u32> {
    let is_pair = |line: &str| {
        let rest = line.strip_prefix(name).or_else(|| {
            let quoted = line.strip_prefix(['"', '\''])?;
            quoted.strip_prefix(name)?.strip_prefix(['"', '\''])
        });
        rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    let number = text.lines().position(is_pair)?;
    u32::try_from(number.saturating_add(1)).ok()
}

struct Root<'a, 'b> {
    text: &'a str,
    environment: &'a Environment<'a>,
    take: RefCell<&'a mut Take<'b>>,
    refused: &'a RefCell<Option<Error>>,
}

impl Root<'_, '_> {
    /// Keeps the error; that of the library only transports the place.
    fn refuse<E: de::Error>(&self, error: Error) -> E {
        self.refused.replace(Some(error));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for &Root<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Root<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of settings to values")
    }

    /// An empty file.
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    /// An empty file, with a comment.
    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        let mut seen = Vec::new();
        while let Some(name) = pairs.next_key_seed(Name {
            root: self,
            seen: &seen,
        })? {
            let value = Pair {
                root: self,
                name: &name,
            };
            pairs.next_value_seed(value)?;
            seen.push(name);
        }
        Ok(())
    }
}

/// A name, checked before its value so that the place of the error is that of the name.
struct Name<'a, 'b, 'c> {
    root: &'a Root<'b, 'c>,
    seen: &'a [String],
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a setting")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<String, E> {
        if self.seen.iter().any(|seen| seen == name) {
            return Err(self.root.refuse(Error::Twice(name.to_owned())));
        }
        if !is_known(name) {
            return Err(self.root.refuse(Error::UnknownSetting {
                name: name.to_owned(),
                nearest: nearest(name),
            }));
        }
        Ok(name.to_owned())
    }
}

struct Pair<'a, 'b, 'c> {
    root: &'a Root<'b, 'c>,
    name: &'a str,
}

impl Pair<'_, '_, '_> {
    fn take<E: de::Error>(&self, data: Data) -> Result<(), E> {
        let line = line_of(self.root.text, self.name);
        let taken = (self.root.take.borrow_mut())(self.name, data, line);
        taken.map_err(|error| self.root.refuse(error))
    }

    fn any(&self) -> Any<'_> {
        Any {
            environment: self.root.environment,
            refused: self.root.refused,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Pair<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Each value is passed on as it is read, while the library knows its place.
impl<'de> Visitor<'de> for Pair<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any().expecting(f)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.take(Data::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.take(Data::from(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.take(Data::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.take(Data::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        let data = self.any().visit_f64(value)?;
        self.take(data)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.take(Data::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        let data = self.any().visit_seq(items)?;
        self.take(data)
    }

    fn visit_map<A: MapAccess<'de>>(self, pairs: A) -> Result<(), A::Error> {
        let data = self.any().visit_map(pairs)?;
        self.take(data)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let data = self.any().visit_enum(tagged)?;
        self.take(data)
    }
}

/// Any value, at any depth.
#[derive(Clone, Copy)]
struct Any<'a> {
    environment: &'a Environment<'a>,
    refused: &'a RefCell<Option<Error>>,
}

impl Any<'_> {
    /// Keeps the error for [`read`], as [`Root::refuse`] does.
    fn refuse<E: de::Error>(self, what: impl Into<String>, hint: impl Into<String>) -> E {
        let error = Error::YamlValue {
            what: what.into(),
            hint: hint.into(),
        };
        self.refused.replace(Some(error));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Data;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Data, E> {
        Ok(Data::from(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Data, E> {
        Ok(Data::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Data, E> {
        Ok(Data::from(value))
    }

    /// JSON has no infinity.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Data, E> {
        if value.is_finite() {
            Ok(Data::from(value))
        } else {
            let what = format!("{value} is not a finite number");
            Err(self.refuse(what, "0 switches a limit off"))
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Data, E> {
        Ok(Data::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Data::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Data, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some(name) = pairs.next_key_seed(self)? {
            let name = match name {
                Data::String(name) => name,
                Data::Null | Data::Bool(_) | Data::Number(_) | Data::Array(_) | Data::Object(_) => {
                    name.to_string()
                }
            };
            let value = pairs.next_value_seed(self)?;
            if map.insert(name.clone(), value).is_some() {
                return Err(self.refuse(format!("'{name}' is set twice"), "set it once"));
            }
        }
        Ok(Data::Object(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Data, A::Error> {
        let (tag, value): (String, _) = tagged.variant()?;
        let tag = tag.trim_start_matches('!');
        if tag != "env" {
            return Err(self.refuse(
                format!("the tag !{tag} is unknown"),
                "!env expands ${NAME} from the environment; there is no other tag",
            ));
        }
        let text: String = value.newtype_variant()?;
        match expanded(&text, self.environment) {
            Ok(text) => Ok(Data::from(text)),
            Err((what, hint)) => Err(self.refuse(what, hint)),
        }
    }
}

/// The text with `${NAME}` and `${NAME:-otherwise}` expanded; `$$` is a dollar.
/// The error is what is wrong, and the remedy.
fn expanded(text: &str, environment: &Environment<'_>) -> Result<String, (String, String)> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            whole.push('$');
            rest = after;
            continue;
        }
        let Some((inside, after)) = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
        else {
            return Err((
                format!("a dollar in '{text}' is not followed by {{NAME}}"),
                "write $$ for a plain dollar".to_owned(),
            ));
        };
        let (name, otherwise) = match inside.split_once(":-") {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (inside, None),
        };
        let value = environment(name).filter(|value| otherwise.is_none() || !value.is_empty());
        match (value, otherwise) {
            (Some(value), _) => whole.push_str(&value),
            (None, Some(otherwise)) => whole.push_str(otherwise),
            (None, None) => {
                return Err((
                    format!("{name} is not set in the environment"),
                    format!("set it, or give a default: ${{{name}:-VALUE}}"),
                ));
            }
        }
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}
