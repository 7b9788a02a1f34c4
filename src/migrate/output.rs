//! What becomes of the lines of a file: settings, and comments about all the rest. Every value goes
//! through the settings table before it is written.

use std::collections::{BTreeMap, BTreeSet};

use super::yaml::{Node, Text, comment, entry, verbatim};
use rcorn_settings::{Section, Setting, TABLE};

/// A line of the file that is migrated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Counted from 1.
    pub(super) number: usize,
    /// As it stands there.
    pub(super) text: String,
}

/// One setting to be written.
#[derive(Debug)]
struct Entry {
    node: Node,
    notes: Vec<String>,
    source: Option<Source>,
}

/// All that will be written.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    head: Vec<String>,
    entries: BTreeMap<usize, Entry>,
    /// Where each name of a map was given.
    names: BTreeMap<(usize, String), Source>,
    left: Vec<(Source, String)>,
    needless: Vec<(Source, String)>,
    /// The lines that rcorn refuses in a configuration of its own.
    refused: BTreeSet<usize>,
}

impl Sheet {
    /// Adds a remark at the head of the file.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.head.push(text.into());
    }

    /// A line that was not translated, and what to do about it.
    pub(super) fn leave(&mut self, source: &Source, why: impl Into<String>) {
        self.left.push((source.clone(), why.into()));
    }

    /// Remembers a line that rcorn would not take if it read the file itself.
    pub(super) fn refuse(&mut self, source: &Source) {
        self.refused.insert(source.number);
    }

    /// The numbers of such lines, in their order.
    pub(super) fn refused(&self) -> impl Iterator<Item = usize> + '_ {
        self.refused.iter().copied()
    }

    /// A line that asks for what rcorn does anyway.
    pub(super) fn needless(&mut self, source: &Source, why: impl Into<String>) {
        self.needless.push((source.clone(), why.into()));
    }

    /// Whether the setting has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        index_of(name).is_some_and(|index| self.entries.contains_key(&index))
    }

    /// A remark about a setting that has a value.
    pub(super) fn note(&mut self, name: &str, text: impl Into<String>) {
        if let Some(entry) = index_of(name).and_then(|index| self.entries.get_mut(&index)) {
            entry.notes.push(text.into());
        }
    }

    /// Sets a setting; gives whether it was taken.
    pub(super) fn set(&mut self, name: &str, text: &Text, source: &Source) -> bool {
        self.put(name, vec![text.clone()], source, false)
    }

    /// Adds to a list.
    pub(super) fn add(&mut self, name: &str, text: &Text, source: &Source) -> bool {
        self.put(name, vec![text.clone()], source, true)
    }

    /// Sets a list as a whole.
    pub(super) fn set_all(&mut self, name: &str, texts: Vec<Text>, source: &Source) -> bool {
        self.put(name, texts, source, false)
    }

    /// What follows from the other settings rather than from one line.
    pub(super) fn imply(&mut self, name: &str, text: &str, why: &str) {
        if let Some(index) = index_of(name).filter(|_| !self.has(name)) {
            let entry = Entry {
                node: Node::list(vec![text.to_owned()]),
                notes: vec![why.to_owned()],
                source: None,
            };
            self.entries.insert(index, entry);
        }
    }

    /// Adds a name with its value to a map; the last value of a name counts.
    pub(super) fn pair(&mut self, name: &str, key: &str, text: &Text, source: &Source) -> bool {
        let Some((index, row)) = self.row_of(name, source) else {
            return false;
        };
        let whole = match text {
            Text::Plain(text) => format!("{key}={text}"),
            Text::Expanded(_) => format!("{key}="),
        };
        if !self.stands(row, &[Text::Plain(whole)], source) {
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
            self.said_again(before, source);
        }
        true
    }

    fn said_again(&mut self, before: Source, source: &Source) {
        let why = format!(
            "line {} sets it again, and the last one holds",
            source.number
        );
        self.left.push((before, why));
    }

    fn put(&mut self, name: &str, texts: Vec<Text>, source: &Source, more: bool) -> bool {
        let Some((index, row)) = self.row_of(name, source) else {
            return false;
        };
        if !self.stands(row, &texts, source) {
            return false;
        }
        let mut before = self.entries.remove(&index);
        if !more
            && let Some(old) = before.take()
            && let Some(old) = old.source
        {
            self.said_again(old, source);
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

    fn row_of(&mut self, name: &str, source: &Source) -> Option<(usize, &'static Setting)> {
        let found = index_of(name).and_then(|index| Some((index, TABLE.get(index)?)));
        if found.is_none() {
            self.leave(
                source,
                format!("this version of rcorn has no setting {name}"),
            );
        }
        found
    }

    /// Whether rcorn would take the texts; if not, the line is listed with what rcorn would say.
    fn stands(&mut self, row: &Setting, texts: &[Text], source: &Source) -> bool {
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
        self.leave(source, format!("{} refuses it: {refused}{hint}", row.name));
        self.refuse(source);
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
            "Left out; each line with what to do instead:",
            &mut self.left,
        );
        listed(&mut out, "Not needed:", &mut self.needless);
        out
    }
}

fn listed(out: &mut String, title: &str, lines: &mut [(Source, String)]) {
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

/// What the table says; nothing about texts that are known only when rcorn starts.
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
