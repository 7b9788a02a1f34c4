//! The rcorn.yaml that is being written: settings, and comments about all other lines. Every value
//! is checked against the settings table before it is added.

use std::collections::{BTreeMap, BTreeSet};

use super::yaml::{Node, Text, comment, entry, verbatim};
use rcorn_settings::{Section, Setting, TABLE};

/// A line of the file that is migrated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceLine {
    /// Counted from 1.
    pub(super) number: usize,
    /// Its text, unchanged.
    pub(super) text: String,
}

/// One setting with its comments.
#[derive(Debug)]
struct Entry {
    node: Node,
    notes: Vec<String>,
    source: Option<SourceLine>,
}

/// The file that is being written.
#[derive(Debug, Default)]
pub(super) struct Output {
    head: Vec<String>,
    entries: BTreeMap<usize, Entry>,
    /// The line that set each name of a map.
    names: BTreeMap<(usize, String), SourceLine>,
    omitted: Vec<(SourceLine, String)>,
    not_needed: Vec<(SourceLine, String)>,
    /// The numbers of the lines that rcorn would refuse if it read the file itself.
    refused: BTreeSet<usize>,
}

impl Output {
    /// Adds a comment at the head of the file.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.head.push(text.into());
    }

    /// Lists a line that was not translated, with the reason or an alternative.
    pub(super) fn omit(&mut self, source: &SourceLine, why: impl Into<String>) {
        self.omitted.push((source.clone(), why.into()));
    }

    /// Marks a line that rcorn would refuse if it read the file itself.
    pub(super) fn mark_refused(&mut self, source: &SourceLine) {
        self.refused.insert(source.number);
    }

    /// The numbers of the marked lines, in rising order.
    pub(super) fn refused_lines(&self) -> impl Iterator<Item = usize> + '_ {
        self.refused.iter().copied()
    }

    /// Lists a line that asks for what rcorn does in any case.
    pub(super) fn not_needed(&mut self, source: &SourceLine, why: impl Into<String>) {
        self.not_needed.push((source.clone(), why.into()));
    }

    /// Whether the setting has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        index_of(name).is_some_and(|index| self.entries.contains_key(&index))
    }

    /// Adds a comment to a setting that has a value.
    pub(super) fn comment(&mut self, name: &str, text: impl Into<String>) {
        if let Some(entry) = index_of(name).and_then(|index| self.entries.get_mut(&index)) {
            entry.notes.push(text.into());
        }
    }

    /// Sets a setting; `true` if the value is valid.
    pub(super) fn set(&mut self, name: &str, text: &Text, source: &SourceLine) -> bool {
        self.put(name, vec![text.clone()], source, false)
    }

    /// Adds an item to a list; `true` if it is valid.
    pub(super) fn add(&mut self, name: &str, text: &Text, source: &SourceLine) -> bool {
        self.put(name, vec![text.clone()], source, true)
    }

    /// Sets a whole list; `true` if it is valid.
    pub(super) fn set_all(&mut self, name: &str, texts: Vec<Text>, source: &SourceLine) -> bool {
        self.put(name, texts, source, false)
    }

    /// Sets a setting that no line sets, but that follows from what uWSGI does; nothing if it has a
    /// value.
    pub(super) fn set_implied(&mut self, name: &str, text: &str, why: &str) {
        if let Some(index) = index_of(name).filter(|_| !self.has(name)) {
            let entry = Entry {
                node: Node::list(vec![text.to_owned()]),
                notes: vec![why.to_owned()],
                source: None,
            };
            self.entries.insert(index, entry);
        }
    }

    /// Adds a name with its value to a map; the last value of a name counts. `true` if it is valid.
    pub(super) fn add_pair(
        &mut self,
        name: &str,
        key: &str,
        text: &Text,
        source: &SourceLine,
    ) -> bool {
        let Some((index, row)) = self.row_of(name, source) else {
            return false;
        };
        let whole = match text {
            Text::Plain(text) => format!("{key}={text}"),
            Text::Expanded(_) => format!("{key}="),
        };
        if !self.is_accepted(row, &[Text::Plain(whole)], source) {
            return false;
        }
        let entry = self.entries.entry(index).or_insert_with(|| Entry {
            node: Node::Map(Vec::new()),
            notes: Vec::new(),
            source: None,
        });
        if let Node::Map(pairs) = &mut entry.node {
            pairs.retain(|(known, _)| known != key);
            pairs.push((key.to_owned(), text.clone()));
        }
        if let Some(before) = self.names.insert((index, key.to_owned()), source.clone())
            && before != *source
        {
            self.overridden(before, source);
        }
        true
    }

    fn overridden(&mut self, before: SourceLine, source: &SourceLine) {
        let why = format!(
            "line {} sets it again, and the last one counts",
            source.number
        );
        self.omitted.push((before, why));
    }

    fn put(&mut self, name: &str, texts: Vec<Text>, source: &SourceLine, more: bool) -> bool {
        let Some((index, row)) = self.row_of(name, source) else {
            return false;
        };
        if !self.is_accepted(row, &texts, source) {
            return false;
        }
        let mut before = self.entries.remove(&index);
        if !more
            && let Some(old) = before.take()
            && let Some(old) = old.source
        {
            self.overridden(old, source);
        }
        let (mut list, mut notes) = match before {
            Some(Entry {
                node: Node::List(list),
                notes,
                ..
            }) => (list, notes),
            Some(_) | None => (Vec::new(), Vec::new()),
        };
        if let Some(Ok(Some(note))) = checked(row, &texts) {
            notes.push(note);
        }
        list.extend(texts);
        let entry = Entry {
            node: Node::List(list),
            notes,
            source: Some(source.clone()),
        };
        self.entries.insert(index, entry);
        true
    }

    fn row_of(&mut self, name: &str, source: &SourceLine) -> Option<(usize, &'static Setting)> {
        let found = index_of(name).and_then(|index| Some((index, TABLE.get(index)?)));
        if found.is_none() {
            self.omit(
                source,
                format!("this version of rcorn has no setting {name}"),
            );
        }
        found
    }

    /// Whether rcorn accepts the texts; if not, the line is listed with the error.
    fn is_accepted(&mut self, row: &Setting, texts: &[Text], source: &SourceLine) -> bool {
        let Some(Err(refused)) = checked(row, texts) else {
            return true;
        };
        let hint = refused.hint.as_ref().map_or_else(String::new, |hint| {
            let joint = if hint.starts_with(char::is_uppercase) {
                "."
            } else {
                ";"
            };
            format!("{joint} {hint}")
        });
        self.omit(source, format!("{}: {refused}{hint}", row.name));
        self.mark_refused(source);
        false
    }

    /// The whole file.
    pub(super) fn render(mut self) -> String {
        let mut out = String::new();
        for text in &self.head {
            out.push_str(&comment(text, ""));
        }
        let mut section: Option<Section> = None;
        for (index, setting) in &self.entries {
            let Some(row) = TABLE.get(*index) else {
                continue;
            };
            if section != Some(row.section) {
                section = Some(row.section);
                out.extend(["\n# ---- ", row.section.title(), " ----\n"]);
            }
            for note in &setting.notes {
                out.push_str(&comment(note, ""));
            }
            out.push_str(&entry(row, &setting.node));
        }
        if self.entries.is_empty() {
            // A file of nothing but comments is null, not a map.
            out.push_str("\n{}\n");
        }
        listed(
            &mut out,
            "Not translated; each line with what to do instead:",
            &mut self.omitted,
        );
        listed(&mut out, "Not needed:", &mut self.not_needed);
        out
    }
}

fn listed(out: &mut String, title: &str, lines: &mut [(SourceLine, String)]) {
    if lines.is_empty() {
        return;
    }
    out.extend(["\n# ", title, "\n#\n"]);
    lines.sort_by_key(|(source, _)| source.number);
    for (source, why) in lines {
        let number = source.number.to_string();
        out.extend(["#   ", &number, ": ", &verbatim(&source.text), "\n"]);
        out.push_str(&comment(why, "      "));
    }
}

fn index_of(name: &str) -> Option<usize> {
    TABLE.iter().position(|row| row.name == name)
}

/// The check by the settings table; `None` for a text that is complete only when rcorn starts.
fn checked(
    row: &Setting,
    texts: &[Text],
) -> Option<Result<Option<String>, rcorn_settings::Refused>> {
    let plain: Option<Vec<&str>> = texts
        .iter()
        .map(|text| match text {
            Text::Plain(text) => Some(text.as_str()),
            Text::Expanded(_) => None,
        })
        .collect();
    plain.map(|texts| row.check(&texts))
}
