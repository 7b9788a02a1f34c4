//! Parses Python literals: what may stand between the parentheses of `module:factory(…)`, and the
//! plain values of a `gunicorn.conf.py` that `rcorn migrate` translates.
//!
//! Why not Python's own `ast.literal_eval`: both run where no Python is. The arbiter reads
//! `APP_MODULE` before it has looked for an interpreter, names the character that is wrong, and
//! exits with 2; `rcorn migrate` needs none at all, and reads files whose other lines must not be
//! executed. Nothing is evaluated: an operator's text must not be able to run code in the arbiter.

mod quoted;
mod scanner;

use super::literal::Literal;
use super::refusal::Cause;
pub(crate) use scanner::Scanner;

/// Deep enough for every use, and far from the end of the stack.
const MAX_DEPTH: usize = 32;

/// The literal that a text begins with, and what follows it; `None` when it begins with something
/// else.
pub fn literal_prefix(text: &str) -> Option<(Literal, String)> {
    let mut scanner = Scanner::new(text, 0);
    let literal = literal(&mut scanner).ok()?;
    Some((literal, scanner.run(|_any| true)))
}

/// One literal, with the blanks before it.
pub(crate) fn literal(scanner: &mut Scanner) -> Result<Literal, Cause> {
    LiteralReader { scanner, depth: 0 }.literal()
}

/// Reads a literal with those in it.
struct LiteralReader<'a> {
    scanner: &'a mut Scanner,
    /// How deeply nested the literal is that is being read.
    depth: usize,
}

impl LiteralReader<'_> {
    fn literal(&mut self) -> Result<Literal, Cause> {
        self.scanner.blanks();
        if self.depth >= MAX_DEPTH {
            return Err(self.scanner.wrong("this is nested too deeply"));
        }
        self.depth = self.depth.saturating_add(1);
        let literal = match self.scanner.peek() {
            None => Err(self.scanner.wrong("a value is missing")),
            Some('[') => self
                .sequence(']')
                .map(|(items, _comma)| Literal::List(items)),
            Some('(') => self
                .sequence(')')
                .map(|(mut items, comma)| match (items.len(), comma) {
                    // Parentheses alone do not make a tuple; the comma does.
                    (1, false) => items.pop().unwrap_or(Literal::None),
                    (_, _) => Literal::Tuple(items),
                }),
            Some('{') => self.dict(),
            Some('\'' | '"') => quoted::texts(self.scanner),
            Some(sign) if sign.is_ascii_digit() || matches!(sign, '.' | '+' | '-') => {
                number(self.scanner)
            }
            Some(sign) if sign.is_alphabetic() || sign == '_' => self.word(),
            Some(sign) => Err(self
                .scanner
                .wrong(&format!("'{}' begins no literal", sign.escape_default()))),
        };
        self.depth = self.depth.saturating_sub(1);
        literal
    }

    /// Items up to the closing sign, and whether the last was followed by a comma.
    fn sequence(&mut self, close: char) -> Result<(Vec<Literal>, bool), Cause> {
        let open = self.scanner.place();
        self.scanner.next();
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            self.scanner.blanks();
            if self.scanner.takes(close) {
                return Ok((items, comma));
            }
            if self.scanner.peek().is_none() {
                return Err(Scanner::wrong_at(
                    open,
                    &format!("the closing '{close}' is missing"),
                ));
            }
            if !items.is_empty() && !comma {
                return Err(self
                    .scanner
                    .wrong(&format!("a comma or '{close}' is missing")));
            }
            items.push(self.literal()?);
            self.scanner.blanks();
            comma = self.scanner.takes(',');
        }
    }

    fn dict(&mut self) -> Result<Literal, Cause> {
        let open = self.scanner.place();
        self.scanner.next();
        let (mut items, mut comma) = (Vec::new(), true);
        loop {
            self.scanner.blanks();
            if self.scanner.takes('}') {
                return Ok(Literal::Dict(items));
            }
            if self.scanner.peek().is_none() {
                return Err(Scanner::wrong_at(open, "the closing '}' is missing"));
            }
            if !comma {
                return Err(self.scanner.wrong("a comma or '}' is missing"));
            }
            let place = self.scanner.place();
            let key = self.literal()?;
            if !is_hashable(&key) {
                return Err(Scanner::wrong_at(
                    place,
                    "a list or a dict cannot be the key of a dict",
                ));
            }
            self.scanner.blanks();
            if !self.scanner.takes(':') {
                return Err(self
                    .scanner
                    .wrong("a colon is missing after the key (sets are not possible)"));
            }
            items.push((key, self.literal()?));
            self.scanner.blanks();
            comma = self.scanner.takes(',');
        }
    }

    /// `None`, `True`, `False`, or the letters before a quote.
    fn word(&mut self) -> Result<Literal, Cause> {
        let place = self.scanner.place();
        let word = self
            .scanner
            .run(|sign| sign.is_alphanumeric() || sign == '_');
        if matches!(self.scanner.peek(), Some('\'' | '"')) {
            self.scanner.back_to(place);
            return quoted::texts(self.scanner);
        }
        match word.as_str() {
            "None" => Ok(Literal::None),
            "True" => Ok(Literal::Bool(true)),
            "False" => Ok(Literal::Bool(false)),
            name => Err(Scanner::wrong_at(
                place,
                &format!("'{name}' is a name, and names are not looked up"),
            )),
        }
    }
}

/// A number with its sign.
fn number(scanner: &mut Scanner) -> Result<Literal, Cause> {
    let place = scanner.place();
    // Signs can be stacked in Python (`--1` is 1); one is all that anyone writes.
    let minus = if scanner.takes('-') { "-" } else { "" };
    if minus.is_empty() {
        scanner.takes('+');
    }
    scanner.blanks();
    let mut digits = scanner.run(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '_'));
    // The sign of an exponent is part of the number, but not in hexadecimal, where `e` is a
    // digit.
    let hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
    if !hexadecimal
        && digits.ends_with(['e', 'E'])
        && let Some(sign) = scanner.peek().filter(|sign| matches!(sign, '+' | '-'))
    {
        scanner.next();
        digits.push(sign);
        digits.push_str(&scanner.run(|sign| sign.is_ascii_digit() || sign == '_'));
    }
    number_of(&digits, minus)
        .ok_or_else(|| Scanner::wrong_at(place, &format!("'{digits}' is not a number")))
}

fn is_hashable(key: &Literal) -> bool {
    match key {
        Literal::List(_) | Literal::Dict(_) => false,
        Literal::Tuple(items) => items.iter().all(is_hashable),
        Literal::None
        | Literal::Bool(_)
        | Literal::Int(_)
        | Literal::Float(_)
        | Literal::Str(_)
        | Literal::Bytes(_) => true,
    }
}

/// Python's rules: underscores only between digits, no leading zeros but in front of nothing but
/// zeros.
fn number_of(text: &str, minus: &str) -> Option<Literal> {
    let lower = text.to_ascii_lowercase();
    let radix = match lower.as_bytes() {
        [b'0', b'x', ..] => 16,
        [b'0', b'o', ..] => 8,
        [b'0', b'b', ..] => 2,
        _ => 10,
    };
    if radix != 10 {
        let digits = lower.get(2..)?;
        let digits = digits.strip_prefix('_').unwrap_or(digits);
        let digits = joined(digits, |sign| sign.is_digit(radix))?;
        return Some(Literal::Int(format!("{minus}{}{digits}", lower.get(..2)?)));
    }
    if !lower.contains(['.', 'e']) {
        let digits = joined(&lower, |sign| sign.is_ascii_digit())?;
        let plain = digits.trim_start_matches('0');
        return match (plain.len() == digits.len(), plain.is_empty()) {
            (true, false) => Some(Literal::Int(format!("{minus}{digits}"))),
            (false, true) => Some(Literal::Int(format!("{minus}0"))),
            (_, _) => None,
        };
    }
    let (mantissa, exponent) = lower
        .split_once('e')
        .map_or((lower.as_str(), None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| joined(text, |sign| sign.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() {
        "0".to_owned()
    } else {
        digits(whole)?
    };
    let fraction = if fraction.is_empty() {
        "0".to_owned()
    } else {
        digits(fraction)?
    };
    let exponent = match exponent {
        None => String::new(),
        Some(text) => {
            let (sign, text) = match text.strip_prefix('-') {
                Some(rest) => ("-", rest),
                None => ("", text.strip_prefix('+').unwrap_or(text)),
            };
            format!("e{sign}{}", digits(text)?)
        }
    };
    format!("{minus}{whole}.{fraction}{exponent}")
        .parse()
        .ok()
        .map(Literal::Float)
}

/// Digits without their underscores; `None` when one stands where Python allows none.
fn joined(text: &str, fits: impl Fn(char) -> bool) -> Option<String> {
    let groups: Vec<&str> = text.split('_').collect();
    let sound = groups
        .iter()
        .all(|group| !group.is_empty() && group.chars().all(&fits));
    sound.then(|| groups.concat())
}
