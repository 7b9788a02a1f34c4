//! The app of a uwsgi.ini: `module`, `wsgi-file`, `mount` and `callable` as `wsgi_app`.

use std::path::{Path, PathBuf};

use super::options::{IniOption, Remaining};
use super::output::{Output, SourceLine};
use super::yaml::Text;

/// The app: the last line that names one.
pub(super) fn app(rest: &mut Remaining, output: &mut Output) {
    let callable = rest.last(&["callable"], output);
    let name = callable
        .as_ref()
        .map_or("application", IniOption::text)
        .to_owned();
    let chdir = rest.0.iter().rev().find(|given| given.key == "chdir");
    let chdir = chdir.and_then(IniOption::plain).map(PathBuf::from);
    let mut named = rest.take(&["module", "wsgi", "wsgi-file", "file", "mount"]);
    let Some(given) = named.pop() else {
        if let Some(callable) = callable {
            output.omit(&callable.source, "it needs a module, and none is named");
        }
        return;
    };
    for other in named {
        output.omit(
            &other.source,
            "one rcorn serves one app: start another for this one, or combine both with a middleware",
        );
    }
    let (prefix, target) = match (given.key.as_str(), given.text().split_once('=')) {
        ("mount", Some((prefix, target))) => (prefix.trim().trim_end_matches('/'), target.trim()),
        (_, _) => ("", given.text()),
    };
    let target = given.with(|_whole| target.to_owned());
    let app = if is_file(&given) {
        file_app(&target, &name, chdir.as_deref(), &given.source, output)
    } else {
        Ok(module_app(target, &name))
    };
    let app = match app {
        Ok(app) => app,
        Err(why) => return output.omit(&given.source, why),
    };
    let taken = output.set("wsgi_app", &app, &given.source);
    if taken && !prefix.is_empty() {
        let prefix = Text::Plain(prefix.to_owned());
        output.add_pair("raw_env", "SCRIPT_NAME", &prefix, &given.source);
        output.comment(
            "raw_env",
            "SCRIPT_NAME is removed from the path of each request, as with manage-script-name.",
        );
    }
}

/// Whether a line names the app's file, and not its module.
fn is_file(given: &IniOption) -> bool {
    let extension = Path::new(given.text()).extension();
    given.key.contains("file") || extension.is_some_and(|kind| kind == "py")
}

/// The app `name` of a file. Adds the file's directory to `pythonpath` if the file is not below
/// `chdir`.
///
/// # Errors
///
/// Why it cannot be named.
fn file_app(
    file: &Text,
    name: &str,
    chdir: Option<&Path>,
    source: &SourceLine,
    output: &mut Output,
) -> Result<Text, String> {
    let Text::Plain(path) = file else {
        return Err("name the module as wsgi_app: module:callable".to_owned());
    };
    let (folder, module) = module_of(Path::new(path), chdir)?;
    if let Some(folder) = folder {
        output.add("pythonpath", &Text::Plain(folder), source);
    }
    Ok(Text::Plain(format!("{module}:{name}")))
}

/// The app of a module: `name`, unless the module is given with one.
fn module_app(module: Text, name: &str) -> Text {
    match module {
        Text::Plain(text) if !text.contains(':') => Text::Plain(format!("{text}:{name}")),
        Text::Expanded(text) if !text.contains(':') => Text::Expanded(format!("{text}:{name}")),
        whole @ (Text::Plain(_) | Text::Expanded(_)) => whole,
    }
}

/// The module of a file, and the directory to add to `pythonpath` if the file is not below `chdir`.
fn module_of(file: &Path, chdir: Option<&Path>) -> Result<(Option<String>, String), String> {
    let (folder, inner) = match chdir.and_then(|chdir| file.strip_prefix(chdir).ok()) {
        Some(inner) => (None, inner),
        None if file.is_absolute() => (
            file.parent().map(|folder| folder.display().to_string()),
            file.file_name().map_or(file, Path::new),
        ),
        None => (None, file),
    };
    let parts = inner.with_extension("");
    let parts: Vec<String> = parts
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let is_name = |part: &String| {
        !part.starts_with(|sign: char| sign.is_ascii_digit())
            && part
                .chars()
                .all(|sign| sign.is_alphanumeric() || sign == '_')
    };
    if parts.is_empty() || !parts.iter().all(is_name) {
        return Err(
            "a file with this name cannot be imported as a module: rename it, and set wsgi_app"
                .to_owned(),
        );
    }
    Ok((folder, parts.join(".")))
}
