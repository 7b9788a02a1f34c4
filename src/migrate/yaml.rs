//! Settings written as YAML, quoted so that every version of YAML reads a text as a text.

use rcorn_settings::{Setting, Shape};

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Without variables.
    Plain(String),
    /// With `${NAME}` for variables of the environment.
    Expanded(String),
}

/// The value of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// YAML already.
    Plain(String),
    /// Texts; a single one is written without a list.
    List(Vec<Text>),
    /// Names and texts.
    Map(Vec<(String, Text)>),
}

impl Node {
    /// Of plain texts.
    pub fn list(texts: Vec<String>) -> Self {
        Self::List(texts.into_iter().map(Text::Plain).collect())
    }
}

/// A setting with its value; ends with a line feed.
pub fn entry(row: &Setting, node: &Node) -> String {
    let name = row.name;
    match node {
        Node::Plain(text) => format!("{name}: {text}\n"),
        Node::List(texts) => match texts.as_slice() {
            [] => format!("{name}: []\n"),
            [one] if !is_divided(row, one) => format!("{name}: {}\n", scalar(row, one)),
            many => {
                let lines = many
                    .iter()
                    .map(|text| format!("  - {}\n", scalar(row, text)));
                format!("{name}:\n{}", lines.collect::<String>())
            }
        },
        Node::Map(pairs) if pairs.is_empty() => format!("{name}: {{}}\n"),
        Node::Map(pairs) => {
            let lines = pairs
                .iter()
                .map(|(key, text)| format!("  {}: {}\n", quoted(key), of_map(text)));
            format!("{name}:\n{}", lines.collect::<String>())
        }
    }
}

/// Whether a single text would be read as several.
fn is_divided(row: &Setting, text: &Text) -> bool {
    let (Text::Plain(text) | Text::Expanded(text)) = text;
    row.separator
        .is_some_and(|separator| text.contains(separator))
}

fn scalar(row: &Setting, text: &Text) -> String {
    match text {
        Text::Expanded(text) => format!("!env {}", in_quotes(text)),
        Text::Plain(text) if is_measure(row, text) => text.clone(),
        Text::Plain(text) => quoted(text),
    }
}

/// The values of maps are texts, whatever they look like.
fn of_map(text: &Text) -> String {
    match text {
        Text::Expanded(text) => format!("!env {}", in_quotes(text)),
        Text::Plain(text) => quoted(text),
    }
}

/// A number, with or without a unit, or a yes or no, where the setting takes no other text.
fn is_measure(row: &Setting, text: &str) -> bool {
    let takes_words = row.check(&["word"]).is_ok();
    let unit = text.trim_start_matches(|sign: char| sign.is_ascii_digit() || sign == '.');
    let number = text.strip_suffix(unit).unwrap_or_default();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_decimal = !whole.is_empty() && (whole == "0" || !whole.starts_with('0'));
    let is_number = is_decimal
        && !fraction.is_empty()
        && !fraction.contains('.')
        && unit.chars().all(|sign| sign.is_ascii_alphabetic())
        && text.len() < 18;
    let is_switch = row.shape == Shape::Switch && row.choices.contains(&text);
    (is_number && !takes_words) || is_switch
}

/// A text, in quotes where YAML of any version might take it for something else.
fn quoted(text: &str) -> String {
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let is_word = words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let begins = |sign: char| sign.is_ascii_alphabetic() || matches!(sign, '/' | '_');
    let goes_on = |sign: char| {
        sign.is_ascii_alphanumeric() || matches!(sign, '/' | '_' | '.' | '-' | ':' | '@' | '+')
    };
    if text.starts_with(begins) && text.chars().all(goes_on) && !text.ends_with(':') && !is_word {
        text.to_owned()
    } else {
        in_quotes(text)
    }
}

fn in_quotes(text: &str) -> String {
    let mut out = String::from('"');
    for sign in text.chars() {
        match sign {
            '"' | '\\' => out.extend(['\\', sign]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // What YAML does not print, or takes for the end of a line.
            sign if sign.is_control()
                || matches!(sign, '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}') =>
            {
                out.extend(["\\u", &format!("{:04x}", u32::from(sign))]);
            }
            sign => out.push(sign),
        }
    }
    out.push('"');
    out
}

/// Whether a setting is a list of names with values.
pub fn is_map(row: &Setting) -> bool {
    row.shape == Shape::Pairs
}

/// A comment, wrapped.
pub fn comment(text: &str, indent: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count().saturating_add(word.chars().count()) < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("# {indent}{word}")),
        }
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// A line of the file for use in a comment: what would end a comment is replaced by a blank.
pub fn verbatim(text: &str) -> String {
    let shown = |sign: char| {
        if sign.is_control() || matches!(sign, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            ' '
        } else {
            sign
        }
    };
    text.chars().map(shown).collect()
}
