//! What a uwsgi.ini serves, and where it listens.

use std::path::{Path, PathBuf};

use super::options::{IniOption, Remaining};
use super::sheet::Sheet;
use super::yaml::Text;

/// What is served.
pub(super) fn app(rest: &mut Remaining, sheet: &mut Sheet) {
    let callable = rest.last(&["callable"], sheet);
    let name = callable
        .as_ref()
        .map_or("application", IniOption::text)
        .to_owned();
    let chdir = rest.0.iter().rev().find(|given| given.key == "chdir");
    let chdir = chdir.and_then(IniOption::plain).map(PathBuf::from);
    let mut named = rest.take(&["module", "wsgi", "wsgi-file", "file", "mount"]);
    let Some(given) = named.pop() else {
        if let Some(callable) = callable {
            sheet.leave(
                &callable.source,
                "it belongs to a module, and none is named",
            );
        }
        return;
    };
    for other in named {
        sheet.leave(
            &other.source,
            "one rcorn serves one app: start another for this one, or join them by a middleware",
        );
    }
    let (prefix, target) = match (given.key.as_str(), given.text().split_once('=')) {
        ("mount", Some((prefix, target))) => (prefix.trim().trim_end_matches('/'), target.trim()),
        (_, _) => ("", given.text()),
    };
    let target = given.with(|_whole| target.to_owned());
    let is_file = given.key.contains("file")
        || Path::new(given.text())
            .extension()
            .is_some_and(|kind| kind == "py");
    let app = if is_file {
        match &target {
            Text::Plain(path) => match module_of(Path::new(path), chdir.as_deref()) {
                Ok((folder, module)) => {
                    if let Some(folder) = folder {
                        sheet.add("pythonpath", &Text::Plain(folder), &given.source);
                    }
                    Text::Plain(format!("{module}:{name}"))
                }
                Err(why) => return sheet.leave(&given.source, why),
            },
            Text::Expanded(_) => {
                return sheet.leave(
                    &given.source,
                    "name the module as wsgi_app: module:callable",
                );
            }
        }
    } else {
        match target {
            Text::Plain(text) if !text.contains(':') => Text::Plain(format!("{text}:{name}")),
            Text::Expanded(text) if !text.contains(':') => Text::Expanded(format!("{text}:{name}")),
            whole @ (Text::Plain(_) | Text::Expanded(_)) => whole,
        }
    };
    let taken = sheet.set("wsgi_app", &app, &given.source);
    if taken && !prefix.is_empty() {
        let prefix = Text::Plain(prefix.to_owned());
        sheet.pair("raw_env", "SCRIPT_NAME", &prefix, &given.source);
        sheet.note(
            "raw_env",
            "SCRIPT_NAME is taken off the path of each request, as manage-script-name does.",
        );
    }
}

/// The module that a file is, and the folder to look for it in when it is not below the directory.
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
        return Err("a file of this name cannot be imported as a module: rename it, and name it as wsgi_app".to_owned());
    }
    Ok((folder, parts.join(".")))
}

/// What is listened on.
pub(super) fn sockets(rest: &mut Remaining, sheet: &mut Sheet) {
    let mut speaks_http = false;
    if let Some(protocol) = rest.last(&["protocol", "socket-protocol"], sheet) {
        speaks_http = protocol.text() == "http";
        if speaks_http || protocol.text() == "uwsgi" {
            sheet.needless(&protocol.source, "bind says it for each address");
        } else {
            sheet.leave(&protocol.source, "rcorn speaks HTTP and the uwsgi protocol");
        }
    }
    let abstracts = rest.is_on("abstract-socket", "bind has `unix:@` for it", sheet);
    let mut is_open = false;
    let mut is_file = false;
    for given in rest.take(&[
        "socket",
        "uwsgi-socket",
        "http",
        "http-socket",
        "http11-socket",
    ]) {
        let uwsgi = given.key == "uwsgi-socket" || (given.key == "socket" && !speaks_http);
        let address = match address(&given, abstracts) {
            Ok(address) => address,
            Err(why) => {
                sheet.leave(&given.source, why);
                continue;
            }
        };
        is_file |= address.starts_with("unix:") && !address.starts_with("unix:@");
        let local = ["unix:", "127.", "[::1]", "localhost"]
            .iter()
            .any(|begin| address.starts_with(begin));
        let text = given.with(|_whole| {
            if uwsgi {
                format!("uwsgi://{address}")
            } else {
                address.clone()
            }
        });
        if sheet.add("bind", &text, &given.source) {
            is_open |= uwsgi && !local;
        }
    }
    if is_open {
        sheet.note(
            "bind",
            "Only peers on this machine may speak uwsgi unless uwsgi_allow_ips names others: add the address of the proxy there.",
        );
    }
    if let Some(mode) = rest.last(&["chmod-socket", "chmod"], sheet) {
        chmod(&mode, is_file, rest, sheet);
    }
}

/// uWSGI's address in our form.
fn address(given: &IniOption, abstracts: bool) -> Result<String, &'static str> {
    let text = given.text();
    if text.starts_with('=') {
        return Err("shared sockets are not needed: name the address itself in bind");
    }
    if text.starts_with("fd://") {
        return Ok(text.to_owned());
    }
    if let Some(name) = text.strip_prefix('@') {
        return Ok(format!("unix:@{name}"));
    }
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty()
            && port.chars().all(|sign| {
                sign.is_ascii_digit()
                    || matches!(sign, '$' | '{' | '}' | '_')
                    || sign.is_ascii_uppercase()
            })
    });
    if !text.starts_with('/') && has_port {
        return Ok(text.strip_prefix('*').unwrap_or(text).to_owned());
    }
    match given.value {
        Text::Expanded(_) if !text.contains('/') => {
            Err("whether this is a path or an address cannot be told: write bind by hand")
        }
        Text::Plain(_) | Text::Expanded(_) if abstracts => Ok(format!("unix:@{text}")),
        Text::Plain(_) | Text::Expanded(_) => Ok(format!("unix:{text}")),
    }
}

/// The permissions of a socket file follow from the umask.
fn chmod(given: &IniOption, is_file: bool, rest: &Remaining, sheet: &mut Sheet) {
    let text = if given.text().is_empty() {
        "666"
    } else {
        given.text()
    };
    let Some(mode) = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
    else {
        return sheet.leave(&given.source, "it is no mode");
    };
    if !is_file {
        return sheet.needless(&given.source, "there is no socket file");
    }
    if rest.0.iter().any(|given| given.key == "umask") {
        return sheet.leave(
            &given.source,
            "rcorn makes the socket under its umask, which has a line of its own",
        );
    }
    // Who may read a file may enter a directory: the app makes both under this mask.
    let mask = !(mode | (mode & 0o444) >> 2) & 0o777;
    let text = if mask == 0 {
        "0".to_owned()
    } else {
        format!("0o{mask:03o}")
    };
    if sheet.set("umask", &Text::Plain(text), &given.source) {
        sheet.note(
            "umask",
            format!(
                "For chmod-socket = {text}; it holds for files that the app makes, too.",
                text = text_of(mode)
            ),
        );
    }
}

fn text_of(mode: u32) -> String {
    format!("{mode:o}")
}
