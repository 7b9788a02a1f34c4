//! The quoted literals of Python, `'text'` and `b"bytes"`: prefixes, escapes, triple quotes.

use super::scanner::Scanner;
use crate::literal::Literal;
use crate::refusal::Cause;

impl Scanner {
    /// One or more quoted literals side by side, which Python joins.
    pub(super) fn texts(&mut self) -> Result<Literal, Cause> {
        let mut whole = self.text()?;
        loop {
            let place = self.place();
            self.blanks();
            let prefix = self.run(|sign| sign.is_ascii_alphabetic());
            let quoted = matches!(self.peek(), Some('\'' | '"'));
            self.back_to(place);
            if !quoted || prefix.len() > 2 {
                return Ok(whole);
            }
            self.blanks();
            let begin = self.place();
            match (&mut whole, self.text()?) {
                (Literal::Str(text), Literal::Str(more)) => text.push_str(&more),
                (Literal::Bytes(bytes), Literal::Bytes(more)) => bytes.extend(more),
                (_, _) => return Err(Self::wrong_at(begin, "texts and bytes cannot be joined")),
            }
        }
    }

    fn text(&mut self) -> Result<Literal, Cause> {
        let begin = self.place();
        let prefix = self
            .run(|sign| sign.is_ascii_alphabetic())
            .to_ascii_lowercase();
        let (bytes, raw) = match prefix.as_str() {
            "" | "u" => (false, false),
            "r" => (false, true),
            "b" => (true, false),
            "br" | "rb" => (true, true),
            "f" | "fr" | "rf" | "t" => {
                return Err(Self::wrong_at(
                    begin,
                    "a text with a format is not a literal",
                ));
            }
            other => {
                return Err(Self::wrong_at(
                    begin,
                    &format!("'{other}' is no prefix of a text"),
                ));
            }
        };
        let quote = self
            .next()
            .ok_or_else(|| self.wrong("a quote is missing"))?;
        let triple = self.is_fence(quote, 2);
        if triple {
            self.next();
            self.next();
        }
        let mut out = Out {
            bytes,
            text: String::new(),
            data: Vec::new(),
        };
        loop {
            if triple && self.is_fence(quote, 3) {
                self.next();
                self.next();
                self.next();
                break;
            }
            let place = self.place();
            let open = || Self::wrong_at(begin, "the closing quote is missing");
            match self.next().ok_or_else(open)? {
                sign if sign == quote && !triple => break,
                '\n' if !triple => return Err(open()),
                '\\' if raw => {
                    out.push('\\', place)?;
                    out.push(self.next().ok_or_else(open)?, place)?;
                }
                '\\' => self.escape(&mut out, place)?,
                sign => out.push(sign, place)?,
            }
        }
        Ok(if bytes {
            Literal::Bytes(out.data)
        } else {
            Literal::Str(out.text)
        })
    }

    /// Whether `count` of these quotes come next.
    fn is_fence(&mut self, quote: char, count: usize) -> bool {
        let place = self.place();
        let all = (0..count).all(|_| self.takes(quote));
        self.back_to(place);
        all
    }

    fn escape(&mut self, out: &mut Out, place: usize) -> Result<(), Cause> {
        let sign = self
            .next()
            .ok_or_else(|| Self::wrong_at(place, "the closing quote is missing"))?;
        match sign {
            '\n' => Ok(()),
            '\\' | '\'' | '"' => out.push(sign, place),
            'a' => out.push('\u{7}', place),
            'b' => out.push('\u{8}', place),
            'f' => out.push('\u{c}', place),
            'n' => out.push('\n', place),
            'r' => out.push('\r', place),
            't' => out.push('\t', place),
            'v' => out.push('\u{b}', place),
            '0'..='7' => {
                let mut digits = String::from(sign);
                while digits.len() < 3
                    && let Some(digit) = self.peek().filter(|sign| sign.is_digit(8))
                {
                    digits.push(digit);
                    self.next();
                }
                out.code(&digits, 8, place)
            }
            'x' => self.hex(out, 2, place),
            'u' if !out.bytes => self.hex(out, 4, place),
            'U' if !out.bytes => self.hex(out, 8, place),
            'N' if !out.bytes => Err(Self::wrong_at(
                place,
                "\\N{...} is not possible; write the character itself",
            )),
            // Python keeps the backslash of an escape that it does not know.
            other => {
                out.push('\\', place)?;
                out.push(other, place)
            }
        }
    }

    fn hex(&mut self, out: &mut Out, count: usize, place: usize) -> Result<(), Cause> {
        let mut digits = String::new();
        for _ in 0..count {
            let digit = self.next().filter(char::is_ascii_hexdigit);
            digits.push(
                digit.ok_or_else(|| Self::wrong_at(place, "this escape has too few digits"))?,
            );
        }
        out.code(&digits, 16, place)
    }
}

/// What was read between the quotes.
struct Out {
    bytes: bool,
    text: String,
    data: Vec<u8>,
}

impl Out {
    fn push(&mut self, sign: char, place: usize) -> Result<(), Cause> {
        if !self.bytes {
            self.text.push(sign);
            return Ok(());
        }
        match u8::try_from(sign) {
            Ok(byte) if byte.is_ascii() => {
                self.data.push(byte);
                Ok(())
            }
            Ok(_) | Err(_) => Err(Scanner::wrong_at(
                place,
                "bytes can have ASCII characters only; write \\xNN",
            )),
        }
    }

    fn code(&mut self, digits: &str, radix: u32, place: usize) -> Result<(), Cause> {
        let code = u32::from_str_radix(digits, radix).ok();
        if self.bytes {
            let byte = code.and_then(|code| u8::try_from(code).ok());
            self.data.push(
                byte.ok_or_else(|| Scanner::wrong_at(place, "this escape is more than one byte"))?,
            );
        } else {
            let sign = code.and_then(char::from_u32);
            self.text
                .push(sign.ok_or_else(|| Scanner::wrong_at(place, "this escape is no character"))?);
        }
        Ok(())
    }
}
