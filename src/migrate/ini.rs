//! A uwsgi.ini as uWSGI reads it: the lines of the section `[uwsgi]`, comments only as whole lines,
//! keys without a value, and placeholders (`%(key)`, `$(VARIABLE)`, `%d`).

use std::path::Path;

use super::output::SourceLine;
use super::yaml::Text;

/// One line with its key and its value, placeholders not yet replaced.
#[derive(Clone, Debug)]
pub(super) struct IniLine {
    pub(super) source: SourceLine,
    pub(super) key: String,
    pub(super) value: String,
}

/// The lines of uWSGI's section, and the names of the other sections; `None` without such a
/// section.
pub(super) fn read(text: &str) -> Option<(Vec<IniLine>, Vec<String>)> {
    let (mut lines, mut others, mut found) = (Vec::new(), Vec::new(), false);
    let mut ours = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = section_of(line) {
            ours = section == "uwsgi";
            found |= ours;
            if !ours {
                others.push(section.to_owned());
            }
            continue;
        }
        if ours {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            lines.push(IniLine {
                source: SourceLine {
                    number,
                    text: line.to_owned(),
                },
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        }
    }
    found.then_some((lines, others))
}

/// Whether the text has uWSGI's section.
pub(super) fn has_section(text: &str) -> bool {
    text.lines()
        .any(|line| section_of(line.trim()) == Some("uwsgi"))
}

fn section_of(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// The depth at which a text is taken to contain itself.
const MAX_DEPTH: usize = 10;

/// What is known for putting into texts.
#[derive(Debug)]
pub(super) struct Placeholders<'a> {
    /// The file, by its absolute path.
    pub(super) file: &'a Path,
    /// Keys and values.
    pub(super) values: Vec<(String, String)>,
}

impl Placeholders<'_> {
    /// The text with everything put in; or why that is not possible.
    pub(super) fn expand(&self, text: &str) -> Result<Text, String> {
        let text = self.with_keys(&self.with_magic(text)?, 0)?;
        if let Some(place) = text.find("@(") {
            let what = text.get(place..).unwrap_or_default();
            return Err(format!("its text comes from elsewhere: {what}"));
        }
        if !text.contains("$(") {
            return Ok(Text::Plain(text));
        }
        // A dollar alone is written twice there.
        let (mut out, mut rest) = (String::new(), text.as_str());
        while let Some((between, after)) = rest.split_once('$') {
            out.push_str(between);
            let name = after
                .strip_prefix('(')
                .and_then(|name| name.split_once(')'));
            if let Some((name, after)) = name {
                out.extend(["${", name, "}"]);
                rest = after;
            } else {
                out.push_str("$$");
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(Text::Expanded(out))
    }

    /// The keys that a text has put in.
    pub(super) fn uses(&self, text: &str) -> Vec<&str> {
        let keys = self.values.iter().map(|(key, _)| key.as_str());
        keys.filter(|key| text.contains(&format!("%({key})")))
            .collect()
    }

    /// `%(key)` becomes the key's value; another name stays, since the log format has such.
    fn with_keys(&self, text: &str, depth: usize) -> Result<String, String> {
        let Some((before, rest)) = text.split_once("%(") else {
            return Ok(text.to_owned());
        };
        let Some((key, after)) = rest.split_once(')') else {
            return Ok(text.to_owned());
        };
        let value = match self.values.iter().find(|(known, _)| known == key) {
            None => format!("%({key})"),
            Some(_) if depth >= MAX_DEPTH => return Err(format!("%({key}) contains itself")),
            Some((_, value)) => {
                self.with_keys(&self.with_magic(value)?, depth.saturating_add(1))?
            }
        };
        Ok(format!("{before}{value}{}", self.with_keys(after, depth)?))
    }

    /// `%d` and the like become parts of the file's name.
    fn with_magic(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut signs = text.chars().peekable();
        while let Some(sign) = signs.next() {
            let Some(letter) = signs.peek().copied().filter(|_| sign == '%') else {
                out.push(sign);
                continue;
            };
            let part = |part: Option<&std::ffi::OsStr>| {
                part.map(|part| part.to_string_lossy().into_owned())
            };
            let folder = self.file.parent();
            let put = match letter {
                'p' => Some(self.file.display().to_string()),
                'd' => folder.map(|folder| {
                    format!("{}/", folder.display().to_string().trim_end_matches('/'))
                }),
                's' => part(self.file.file_name()),
                'n' => part(self.file.file_stem()),
                'e' => part(self.file.extension()),
                'c' => part(folder.and_then(Path::file_name)),
                '%' => Some("%".to_owned()),
                'k' => {
                    return Err(
                        "%k is the number of CPUs, which only rcorn's workers know, as `auto`"
                            .to_owned(),
                    );
                }
                'v'
                | 'h'
                | 't'
                | 'T'
                | 'V'
                | 'r'
                | 'u'
                | 'U'
                | 'g'
                | 'G'
                | 'j'
                | 'J'
                | '0'..='9' => {
                    return Err(format!(
                        "%{letter} is known to uWSGI only; write what it stands for"
                    ));
                }
                _ => None,
            };
            match put {
                Some(put) => {
                    signs.next();
                    out.push_str(&put);
                }
                None => out.push('%'),
            }
        }
        Ok(out)
    }
}
