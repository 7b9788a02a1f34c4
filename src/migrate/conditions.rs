//! The conditions of a uwsgi.ini: `if-env` and `if-not-env` are decided by the environment, other
//! conditions and loops are listed.

use rcorn_settings::Environment;

use super::ini::IniLine;
use super::output::Output;

/// What happens to the lines of a block.
#[derive(Debug)]
enum Block {
    /// They are translated. The variable is the value of `%(_)`.
    Taken(String),
    /// They are listed, with this reason.
    Omitted(String),
}

/// The conditions of a file.
pub(super) struct Conditions<'a> {
    environment: &'a Environment<'a>,
    /// Whether one depended on the environment.
    asked_environment: bool,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(environment: &'a Environment<'a>) -> Self {
        Self {
            environment,
            asked_environment: false,
        }
    }

    /// Whether one depended on the environment.
    pub(super) fn have_asked_environment(&self) -> bool {
        self.asked_environment
    }

    /// The lines that are to be translated. The others are listed.
    pub(super) fn apply(&mut self, lines: Vec<IniLine>, output: &mut Output) -> Vec<IniLine> {
        let (mut taken, mut blocks) = (Vec::new(), Vec::new());
        for mut line in lines {
            let key = line.key.as_str();
            if ["endif", "end-if", "endfor", "end-for"].contains(&key) {
                blocks.pop();
                output.not_needed(&line.source, "the end of the block above");
            } else if key.starts_with("if") || key == "for" || key.starts_with("for-") {
                blocks.push(self.block(&line, output));
            } else if let Some(Block::Omitted(why)) = blocks
                .iter()
                .find(|block| matches!(block, Block::Omitted(_)))
            {
                output.omit(&line.source, why.clone());
            } else {
                if let Some(Block::Taken(variable)) = blocks.last() {
                    line.value = line.value.replace("%(_)", &format!("$({variable})"));
                }
                taken.push(line);
            }
        }
        taken
    }

    /// Decides about the block that begins with this line, and lists the line.
    fn block(&mut self, line: &IniLine, output: &mut Output) -> Block {
        let wanted = match line.key.as_str() {
            "if-env" | "ifenv" => true,
            "if-not-env" | "ifnotenv" => false,
            _ => {
                let why = "conditions other than if-env are not translated: add what applies to this machine";
                output.omit(&line.source, why);
                return Block::Omitted(format!("it depends on: {}", line.source.text));
            }
        };
        self.asked_environment = true;
        let (name, value) = match line.value.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (line.value.as_str(), None),
        };
        let found = (self.environment)(name);
        let state = match (&found, value) {
            (None, _) => "is not set",
            (Some(_), None) => "is set",
            (Some(found), Some(value)) if found == value => "has this value",
            (Some(_), Some(_)) => "has another value",
        };
        let holds = found.is_some_and(|found| value.is_none_or(|value| found == value));
        if holds == wanted {
            output.not_needed(
                &line.source,
                format!("{name} {state}: its block is translated"),
            );
            Block::Taken(name.to_owned())
        } else {
            let why = format!("{name} {state}: its block is not translated");
            output.omit(&line.source, why);
            Block::Omitted(format!("it depends on: {}", line.source.text))
        }
    }
}
