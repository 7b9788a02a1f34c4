//! Splitting `GUNICORN_CMD_ARGS` into words by the quoting rules of a POSIX shell, without any
//! expansion: as Python's `shlex.split` does, which gunicorn calls.
//!
//! The crates `shlex` and `shell-words` take `#` for the beginning of a comment, which
//! `shlex.split` does not: with them `--name "#1"` would pass and `--name #1` would lose its value.
//! They do not say what is wrong, either.

/// The words of a line, or what is wrong with it.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    // `''` is a word though it has no letters: hence an option and not an empty text.
    let mut word: Option<String> = None;
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match sign {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match signs.next().ok_or("has no closing single quote")? {
                        '\'' => break,
                        inside => word.push(inside),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match signs.next().ok_or("has no closing double quote")? {
                        '"' => break,
                        '\\' => match signs.next().ok_or("has no closing double quote")? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            '\n' => {}
                            other => word.extend(['\\', other]),
                        },
                        inside => word.push(inside),
                    }
                }
            }
            '\\' => match signs.next().ok_or("ends with a backslash")? {
                '\n' => {}
                escaped => word.get_or_insert_default().push(escaped),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}
