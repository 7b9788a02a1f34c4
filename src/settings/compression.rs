//! The encodings that responses are compressed with.

use super::refusal::Cause;
use super::table::Shape;
use super::value::{Value, text_form};

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// The encodings of responses, the preferred first; none is `off`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compression(Vec<Coding>);

impl Compression {
    /// The preferred first.
    pub fn codings(&self) -> &[Coding] {
        &self.0
    }

    /// Nothing is compressed.
    pub fn is_off(&self) -> bool {
        self.0.is_empty()
    }
}

impl Value for Compression {
    const NOUN: &'static str = "off, or a list of zstd, br and gzip";
    const VALUE_NAME: &'static str = "ENCODINGS";
    const SHAPE: Shape = Shape::Joined;

    fn parse(text: &str) -> Result<Self, Cause> {
        let words = text.to_ascii_lowercase();
        let words: Vec<&str> = words
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        match *words {
            ["off" | "false"] => return Ok(Self::default()),
            ["on" | "true"] => return Ok(Self(Coding::ALL.to_vec())),
            _ => {}
        }
        let mut codings = Vec::new();
        for word in words {
            let coding = Coding::ALL.into_iter().find(|coding| coding.name() == word);
            let Some(coding) = coding else {
                return Err(Cause::because(
                    format!("has an encoding that is not supported: '{word}'"),
                    "write those of zstd, br and gzip, with commas between them and the preferred \
                     one first, or off alone",
                ));
            };
            if !codings.contains(&coding) {
                codings.push(coding);
            }
        }
        Ok(Self(codings))
    }

    fn show(&self) -> String {
        if self.is_off() {
            return "off".to_owned();
        }
        let names: Vec<&str> = self.0.iter().map(|coding| coding.name()).collect();
        names.join(",")
    }
}

text_form!(Compression);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_in_the_order_that_is_written() {
        for (text, shown) in [
            ("off", "off"),
            ("false", "off"),
            ("", "off"),
            ("gzip", "gzip"),
            ("on", "zstd,br,gzip"),
            ("br, GZIP,", "br,gzip"),
            ("gzip,zstd,gzip", "gzip,zstd"),
        ] {
            let read = Compression::parse(text).ok().unwrap();
            assert_eq!(read.show(), shown, "{text}");
            assert_eq!(Compression::parse(shown).ok(), Some(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_encoding_is_named() {
        for (text, word) in [
            ("deflate", "deflate"),
            ("gzip,off", "off"),
            ("br zstd", "br zstd"),
        ] {
            let Err(Cause::Because { what, .. }) = Compression::parse(text) else {
                panic!("{text}");
            };
            assert!(what.ends_with(&format!("'{word}'")), "{what}");
        }
    }
}
