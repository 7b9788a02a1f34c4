//! The quoted literals of Python, `'text'` and `b"bytes"`: prefixes, escapes, triple quotes.

use super::scanner::Scanner;
use crate::literal::Literal;
use crate::refusal::Cause;

/// One or more quoted literals side by side, which Python joins.
pub(super) fn texts(scanner: &mut Scanner) -> Result<Literal, Cause> {
    let mut whole = text(scanner)?;
    loop {
        let place = scanner.place();
        scanner.blanks();
        let prefix = scanner.run(|sign| sign.is_ascii_alphabetic());
        let quoted = matches!(scanner.peek(), Some('\'' | '"'));
        scanner.back_to(place);
        if !quoted || prefix.len() > 2 {
            return Ok(whole);
        }
        scanner.blanks();
        let begin = scanner.place();
        match (&mut whole, text(scanner)?) {
            (Literal::Str(text), Literal::Str(more)) => text.push_str(&more),
            (Literal::Bytes(bytes), Literal::Bytes(more)) => bytes.extend(more),
            (_, _) => return Err(Scanner::wrong_at(begin, "texts and bytes cannot be joined")),
        }
    }
}

fn text(scanner: &mut Scanner) -> Result<Literal, Cause> {
    let begin = scanner.place();
    let (bytes, raw) = prefix(scanner)?;
    let quote = scanner
        .next()
        .ok_or_else(|| scanner.wrong("a quote is missing"))?;
    let triple = is_fence(scanner, quote, 2);
    if triple {
        scanner.next();
        scanner.next();
    }
    let mut out = Out {
        bytes,
        text: String::new(),
        data: Vec::new(),
    };
    loop {
        if triple && is_fence(scanner, quote, 3) {
            scanner.next();
            scanner.next();
            scanner.next();
            break;
        }
        let place = scanner.place();
        let open = || Scanner::wrong_at(begin, "the closing quote is missing");
        match scanner.next().ok_or_else(open)? {
            sign if sign == quote && !triple => break,
            '\n' if !triple => return Err(open()),
            '\\' if raw => {
                out.push('\\', place)?;
                out.push(scanner.next().ok_or_else(open)?, place)?;
            }
            '\\' => escape(scanner, &mut out, place)?,
            sign => out.push(sign, place)?,
        }
    }
    Ok(if bytes {
        Literal::Bytes(out.data)
    } else {
        Literal::Str(out.text)
    })
}

/// The letters before a quote: whether they make it bytes, and raw.
fn prefix(scanner: &mut Scanner) -> Result<(bool, bool), Cause> {
    let begin = scanner.place();
    let prefix = scanner
        .run(|sign| sign.is_ascii_alphabetic())
        .to_ascii_lowercase();
    match prefix.as_str() {
        "" | "u" => Ok((false, false)),
        "r" => Ok((false, true)),
        "b" => Ok((true, false)),
        "br" | "rb" => Ok((true, true)),
        "f" | "fr" | "rf" | "t" => Err(Scanner::wrong_at(
            begin,
            "a text with a format is not a literal",
        )),
        other => Err(Scanner::wrong_at(
            begin,
            &format!("'{other}' is no prefix of a text"),
        )),
    }
}

/// Whether `count` of these quotes come next.
fn is_fence(scanner: &mut Scanner, quote: char, count: usize) -> bool {
    let place = scanner.place();
    let all = (0..count).all(|_| scanner.takes(quote));
    scanner.back_to(place);
    all
}

fn escape(scanner: &mut Scanner, out: &mut Out, place: usize) -> Result<(), Cause> {
    let sign = scanner
        .next()
        .ok_or_else(|| Scanner::wrong_at(place, "the closing quote is missing"))?;
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
                && let Some(digit) = scanner.peek().filter(|sign| sign.is_digit(8))
            {
                digits.push(digit);
                scanner.next();
            }
            out.code(&digits, 8, place)
        }
        'x' => hex(scanner, out, 2, place),
        'u' if !out.bytes => hex(scanner, out, 4, place),
        'U' if !out.bytes => hex(scanner, out, 8, place),
        'N' if !out.bytes => Err(Scanner::wrong_at(
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

fn hex(scanner: &mut Scanner, out: &mut Out, count: usize, place: usize) -> Result<(), Cause> {
    let mut digits = String::new();
    for _ in 0..count {
        let digit = scanner.next().filter(char::is_ascii_hexdigit);
        digits
            .push(digit.ok_or_else(|| Scanner::wrong_at(place, "this escape has too few digits"))?);
    }
    out.code(&digits, 16, place)
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
