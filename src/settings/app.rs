//! `APP_MODULE`: which app to serve. Read here, by our own rules; imported only in a template or a
//! worker.

use super::literal::Literal;
use super::python_literal::{Scanner, literal};
use super::refusal::Cause;
use super::value::{Value, text_form};

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
        let mut scanner = Scanner::new(text, module.chars().count().saturating_add(1));
        let path = path(&mut scanner)?;
        scanner.blanks();
        let expression = if scanner.peek() == Some('(') {
            let (args, kwargs) = arguments(&mut scanner)?;
            Expression::Call { path, args, kwargs }
        } else {
            Expression::Attribute(path)
        };
        scanner.blanks();
        match scanner.peek() {
            None => Ok(Self {
                module: module.to_owned(),
                expression,
            }),
            Some('(' | '.') => Err(form(
                &scanner,
                "nothing can follow the call: let the factory return the app",
            )),
            Some(sign) => Err(form(
                &scanner,
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

fn form(scanner: &Scanner, what: &str) -> Cause {
    Cause::because(
        format!(
            "is wrong at character {}: {what}",
            scanner.place().saturating_add(1)
        ),
        FORMS,
    )
}

/// The import system takes more than identifiers (`my-app` is fine), so only what cannot be meant
/// is refused.
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

fn path(scanner: &mut Scanner) -> Result<Vec<String>, Cause> {
    let mut path = Vec::new();
    loop {
        scanner.blanks();
        let place = scanner.place();
        let name = scanner.run(|sign| sign.is_alphanumeric() || sign == '_');
        if name.is_empty() || name.starts_with(|sign: char| sign.is_numeric()) {
            scanner.back_to(place);
            return Err(form(scanner, "the name of an attribute is expected here"));
        }
        path.push(name);
        if !scanner.takes('.') {
            return Ok(path);
        }
    }
}

type Arguments = (Vec<Literal>, Vec<(String, Literal)>);

fn arguments(scanner: &mut Scanner) -> Result<Arguments, Cause> {
    let open = scanner.place();
    scanner.takes('(');
    let (mut args, mut kwargs) = (Vec::new(), Vec::<(String, Literal)>::new());
    let mut comma = true;
    loop {
        scanner.blanks();
        if scanner.takes(')') {
            return Ok((args, kwargs));
        }
        if scanner.peek().is_none() {
            return Err(Scanner::wrong_at(open, "the closing ')' is missing"));
        }
        if !comma {
            return Err(scanner.wrong("a comma or ')' is missing"));
        }
        if scanner.peek() == Some('*') {
            return Err(scanner.wrong("arguments cannot be unpacked here"));
        }
        let place = scanner.place();
        match keyword(scanner) {
            Some(name) if kwargs.iter().any(|(known, _)| *known == name) => {
                return Err(Scanner::wrong_at(
                    place,
                    &format!("the argument '{name}' is given twice"),
                ));
            }
            Some(name) => kwargs.push((name, literal(scanner)?)),
            None if kwargs.is_empty() => args.push(literal(scanner)?),
            None => {
                return Err(
                    scanner.wrong("an argument without a name cannot follow one with a name")
                );
            }
        }
        scanner.blanks();
        comma = scanner.takes(',');
    }
}

/// `name =`, read past; or nothing read.
fn keyword(scanner: &mut Scanner) -> Option<String> {
    let place = scanner.place();
    let name = scanner.run(|sign| sign.is_alphanumeric() || sign == '_');
    scanner.blanks();
    let is_name = name.starts_with(|sign: char| sign.is_alphabetic() || sign == '_');
    if is_name && scanner.takes('=') && scanner.peek() != Some('=') {
        return Some(name);
    }
    scanner.back_to(place);
    None
}
