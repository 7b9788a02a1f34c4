//! `APP_MODULE`: which app to serve. Read here, by our own rules; imported only in a template or a worker.

use super::literal::{Literal, Reader};
use super::value::{Cause, Value, text_form};

/// The app as the operator named it.
#[derive(Clone, Debug, PartialEq)]
pub struct AppRef {
    /// The module to import, with dots.
    pub module: String,
    /// What to take from it.
    pub expression: Expression,
}

/// What to take from the module.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// `module:a.b`; `module` alone stands for `module:application`.
    Attribute(Vec<String>),
    /// `module:factory('x', k=1)`: what the call returns.
    Call {
        /// The factory.
        path: Vec<String>,
        /// What it is given by position.
        args: Vec<Literal>,
        /// What it is given by name.
        kwargs: Vec<(String, Literal)>,
    },
}

const FORMS: &str =
    "write module:name, for example shop.wsgi:app, or module:factory('argument') for a factory";

impl Value for AppRef {
    const NOUN: &'static str = "an app";
    const VALUE_NAME: &'static str = "APP_MODULE";

    fn parse(text: &str) -> Result<Self, Cause> {
        let text = text.trim();
        let (module, expression) = match text.split_once(':') {
            Some((module, expression)) => (module, Some(expression)),
            None => (text, None),
        };
        check_module(module, expression.unwrap_or("app"))?;
        let Some(expression) = expression else {
            let expression = Expression::Attribute(vec!["application".to_owned()]);
            return Ok(Self {
                module: module.to_owned(),
                expression,
            });
        };
        if expression.trim().is_empty() {
            return Err(Cause::because("names nothing after the colon", FORMS));
        }
        // Places in errors are counted in the whole text.
        let mut reader = Reader::new(text, module.chars().count().saturating_add(1));
        let path = path(&mut reader)?;
        reader.blanks();
        let expression = if reader.peek() == Some('(') {
            let (args, kwargs) = arguments(&mut reader)?;
            Expression::Call { path, args, kwargs }
        } else {
            Expression::Attribute(path)
        };
        reader.blanks();
        match reader.peek() {
            None => Ok(Self {
                module: module.to_owned(),
                expression,
            }),
            Some('(' | '.') => Err(form(
                &reader,
                "nothing can follow the call: let the factory return the app",
            )),
            Some(sign) => Err(form(
                &reader,
                &format!("'{}' is not expected here", sign.escape_default()),
            )),
        }
    }

    fn show(&self) -> String {
        match &self.expression {
            Expression::Attribute(path) => format!("{}:{}", self.module, path.join(".")),
            Expression::Call { path, args, kwargs } => {
                let args = args.iter().map(Literal::to_string);
                let kwargs = kwargs.iter().map(|(name, value)| format!("{name}={value}"));
                let all: Vec<String> = args.chain(kwargs).collect();
                format!("{}:{}({})", self.module, path.join("."), all.join(", "))
            }
        }
    }
}

text_form!(AppRef);

fn form(reader: &Reader, what: &str) -> Cause {
    Cause::because(
        format!(
            "is wrong at character {}: {what}",
            reader.place().saturating_add(1)
        ),
        FORMS,
    )
}

/// The import system takes more than identifiers (`my-app` is fine), so only what cannot be meant is refused.
fn check_module(module: &str, expression: &str) -> Result<(), Cause> {
    let file = module.strip_suffix(".py");
    if file.is_some() || module.contains(['/', '\\']) {
        let path = file.unwrap_or(module).trim_end_matches(['/', '\\']);
        let (folder, name) = path.rsplit_once(['/', '\\']).unwrap_or(("", path));
        let chdir = match (folder, path.starts_with('/')) {
            ("", false) => String::new(),
            ("", true) => "--chdir / ".to_owned(),
            (folder, _) => format!("--chdir {folder} "),
        };
        let hint = format!("name the module, not its file: {chdir}{name}:{expression}");
        return Err(Cause::because("is the path of a file, not a module", hint));
    }
    if module.is_empty() {
        return Err(Cause::because("names no module before the colon", FORMS));
    }
    if module.starts_with('.') {
        return Err(Cause::because(
            "is a relative import, and there is nothing to be relative to",
            FORMS,
        ));
    }
    if module.split('.').any(str::is_empty) {
        return Err(Cause::because(
            "has a dot without a name beside it in the module",
            FORMS,
        ));
    }
    let fits = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '-' | '.');
    match module.chars().find(|sign| !fits(*sign)) {
        Some(sign) => {
            let what = format!("has '{}' in the name of the module", sign.escape_default());
            Err(Cause::because(what, FORMS))
        }
        None => Ok(()),
    }
}

fn path(reader: &mut Reader) -> Result<Vec<String>, Cause> {
    let mut path = Vec::new();
    loop {
        reader.blanks();
        let place = reader.place();
        let name = reader.run(|sign| sign.is_alphanumeric() || sign == '_');
        if name.is_empty() || name.starts_with(|sign: char| sign.is_numeric()) {
            reader.back_to(place);
            return Err(form(reader, "the name of an attribute is expected here"));
        }
        path.push(name);
        if !reader.takes('.') {
            return Ok(path);
        }
    }
}

type Arguments = (Vec<Literal>, Vec<(String, Literal)>);

fn arguments(reader: &mut Reader) -> Result<Arguments, Cause> {
    let open = reader.place();
    reader.takes('(');
    let (mut args, mut kwargs) = (Vec::new(), Vec::<(String, Literal)>::new());
    let mut comma = true;
    loop {
        reader.blanks();
        if reader.takes(')') {
            return Ok((args, kwargs));
        }
        if reader.peek().is_none() {
            return Err(Reader::wrong_at(open, "the closing ')' is missing"));
        }
        if !comma {
            return Err(reader.wrong("a comma or ')' is missing"));
        }
        if reader.peek() == Some('*') {
            return Err(reader.wrong("arguments cannot be unpacked here"));
        }
        let place = reader.place();
        match keyword(reader) {
            Some(name) if kwargs.iter().any(|(known, _)| *known == name) => {
                return Err(Reader::wrong_at(
                    place,
                    &format!("the argument '{name}' is given twice"),
                ));
            }
            Some(name) => kwargs.push((name, reader.literal()?)),
            None if kwargs.is_empty() => args.push(reader.literal()?),
            None => {
                return Err(
                    reader.wrong("an argument without a name cannot follow one with a name")
                );
            }
        }
        reader.blanks();
        comma = reader.takes(',');
    }
}

/// `name =`, read past; or nothing read.
fn keyword(reader: &mut Reader) -> Option<String> {
    let place = reader.place();
    let name = reader.run(|sign| sign.is_alphanumeric() || sign == '_');
    reader.blanks();
    let is_name = name.starts_with(|sign: char| sign.is_alphabetic() || sign == '_');
    if is_name && reader.takes('=') && reader.peek() != Some('=') {
        return Some(name);
    }
    reader.back_to(place);
    None
}
