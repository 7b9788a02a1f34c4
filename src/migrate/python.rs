//! The statements of a Python file, found without running it: where each begins, its first line
//! without comments, and the lines of its block.

use super::output::SourceLine;

/// One statement that is not indented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) source: SourceLine,
    /// The first logical line, without comments.
    pub(super) code: String,
    /// The logical lines of its block.
    pub(super) block: Vec<String>,
}

/// Words that continue the statement before them.
const GO_ON: [&str; 4] = ["else", "elif", "except", "finally"];

/// The statements of a file.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    let raw: Vec<&str> = text.lines().collect();
    let source = |number: usize| {
        let text = raw
            .get(number.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        SourceLine {
            number,
            text: text.trim_end().to_owned(),
        }
    };
    let mut decorated = false;
    for (number, code) in logical_lines(text) {
        let word: String = code
            .chars()
            .take_while(|sign| sign.is_alphanumeric() || *sign == '_')
            .collect();
        let goes_on = code.starts_with([' ', '\t']) || GO_ON.contains(&word.as_str());
        match statements.last_mut() {
            Some(before) if goes_on => before.block.push(code.trim().to_owned()),
            Some(before) if decorated => {
                decorated = code.starts_with('@');
                before.source = source(number);
                before.code = code;
            }
            Some(_) | None => {
                decorated = code.starts_with('@');
                statements.push(Statement {
                    source: source(number),
                    code,
                    block: Vec::new(),
                });
            }
        }
    }
    statements
}

/// Logical lines: Python joins lines within brackets, within triple quotes, and after a backslash.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let (mut lines, mut code, mut begin) = (Vec::new(), String::new(), 1_usize);
    let (mut depth, mut number) = (0_u32, 1_usize);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\n' => {
                number = number.saturating_add(1);
                if depth > 0 {
                    code.push('\n');
                    continue;
                }
                if !code.trim().is_empty() {
                    lines.push((begin, code.trim_end().to_owned()));
                }
                code.clear();
                begin = number;
            }
            '#' => while signs.next_if(|sign| *sign != '\n').is_some() {},
            '\\' if signs.peek() == Some(&'\n') => {
                signs.next();
                number = number.saturating_add(1);
                code.push(' ');
            }
            '\'' | '"' => {
                code.push(sign);
                let inside = quoted(sign, &mut signs);
                number = number.saturating_add(inside.matches('\n').count());
                code.push_str(&inside);
            }
            _ => {
                match sign {
                    '(' | '[' | '{' => depth = depth.saturating_add(1),
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                code.push(sign);
            }
        }
    }
    if !code.trim().is_empty() {
        lines.push((begin, code.trim_end().to_owned()));
    }
    lines
}

/// The rest of a quoted text, from after its first quote to its end.
fn quoted(quote: char, signs: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut inside = String::new();
    let mut count = 1_usize;
    while count < 3 && signs.next_if_eq(&quote).is_some() {
        inside.push(quote);
        count = count.saturating_add(1);
    }
    // Two quotes are an empty text.
    if count == 2 {
        return inside;
    }
    let fence = quote.to_string().repeat(count);
    let mut read = String::new();
    while let Some(sign) = signs.next() {
        read.push(sign);
        if sign == '\\' {
            read.extend(signs.next());
        } else if read.ends_with(&fence) || (count == 1 && sign == '\n') {
            break;
        }
    }
    inside + &read
}
