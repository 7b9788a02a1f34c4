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
    /// The section that it is in.
    pub(super) section: String,
}

/// The lines that uWSGI reads from a file.
#[derive(Debug)]
pub(super) struct IniFile {
    /// Those of `[uwsgi]`, with those of the sections that it includes in their place.
    pub(super) lines: Vec<IniLine>,
    /// The sections that are not read.
    pub(super) unread: Vec<String>,
}

/// Reads a file; `None` if it has no section `[uwsgi]`. `name`: its file name, by which its own
/// lines may refer to it.
pub(super) fn read(text: &str, name: &str) -> Option<IniFile> {
    let sections = sections(text);
    if !sections.iter().any(|(section, _)| section == "uwsgi") {
        return None;
    }
    let mut read = vec!["uwsgi".to_owned()];
    let lines = with_included("uwsgi", &sections, name, &mut read);
    let mut unread: Vec<String> = Vec::new();
    for (section, _) in sections {
        if !read.contains(&section) && !unread.contains(&section) {
            unread.push(section);
        }
    }
    Some(IniFile { lines, unread })
}

/// The lines of each section, in the order of the file. A section can be there several times.
fn sections(text: &str) -> Vec<(String, Vec<IniLine>)> {
    let mut sections: Vec<(String, Vec<IniLine>)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = section_of(line) {
            sections.push((section.to_owned(), Vec::new()));
        } else if let Some((section, lines)) = sections.last_mut() {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            lines.push(IniLine {
                source: SourceLine {
                    number,
                    text: line.to_owned(),
                },
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                section: section.clone(),
            });
        }
    }
    sections
}

/// The lines of a section. A line such as `ini = :base` is followed by those of the section that it
/// names. `read`: the sections that have been read; none is read twice.
fn with_included(
    section: &str,
    sections: &[(String, Vec<IniLine>)],
    name: &str,
    read: &mut Vec<String>,
) -> Vec<IniLine> {
    let mut lines = Vec::new();
    let own = sections.iter().filter(|(known, _)| known == section);
    for line in own.flat_map(|(_, lines)| lines) {
        lines.push(line.clone());
        let Some(included) = included_section(line, name) else {
            continue;
        };
        let is_there = sections.iter().any(|(known, _)| known == included);
        if is_there && !read.iter().any(|known| known == included) {
            read.push(included.to_owned());
            lines.extend(with_included(included, sections, name, read));
        }
    }
    lines
}

/// The section of the same file that a line includes.
pub(super) fn included_section<'a>(line: &'a IniLine, name: &str) -> Option<&'a str> {
    if !["ini", "inherit", "include", "config"].contains(&line.key.as_str()) {
        return None;
    }
    let (file, section) = line.value.rsplit_once(':')?;
    let is_this = ["", "%p", name].contains(&file) || file == format!("%d{name}");
    (is_this && !section.is_empty()).then_some(section)
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

/// The first name in an expanded text that this file does not define.
pub(super) fn undefined(text: &Text) -> Option<&str> {
    let (Text::Plain(text) | Text::Expanded(text)) = text;
    let (_, rest) = text.split_once("%(")?;
    rest.split_once(')').map(|(name, _)| name)
}

/// The values of placeholders.
#[derive(Debug)]
pub(super) struct Placeholders<'a> {
    /// The file, by its absolute path.
    pub(super) file: &'a Path,
    /// Keys and values.
    pub(super) values: Vec<(String, String)>,
}

impl Placeholders<'_> {
    /// The text with all placeholders replaced.
    ///
    /// # Errors
    ///
    /// Why one cannot be replaced.
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

    /// The keys that a text refers to.
    pub(super) fn uses(&self, text: &str) -> Vec<&str> {
        let keys = self.values.iter().map(|(key, _)| key.as_str());
        keys.filter(|key| text.contains(&format!("%({key})")))
            .collect()
    }

    /// `%(key)` becomes the value of the key; another name stays.
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
