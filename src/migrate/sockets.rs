//! The addresses of a uwsgi.ini as `bind`, and the permissions of its socket files as `umask`.

use super::options::{IniOption, Remaining};
use super::output::Output;
use super::yaml::Text;

/// The addresses.
pub(super) fn sockets(rest: &mut Remaining, output: &mut Output) {
    let mut speaks_http = false;
    if let Some(protocol) = rest.last(&["protocol", "socket-protocol"], output) {
        speaks_http = protocol.text() == "http";
        if speaks_http || protocol.text() == "uwsgi" {
            output.not_needed(&protocol.source, "bind names the protocol of each address");
        } else {
            output.omit(&protocol.source, "rcorn speaks HTTP and the uwsgi protocol");
        }
    }
    let abstracts = rest.is_on("abstract-socket", "bind has the form `unix:@NAME`", output);
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
                output.omit(&given.source, why);
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
        if output.add("bind", &text, &given.source) {
            is_open |= uwsgi && !local;
        }
    }
    if is_open {
        output.comment(
            "bind",
            "Only peers on this machine may use the uwsgi protocol. Add the address of the proxy to uwsgi_allow_ips.",
        );
    }
    if let Some(mode) = rest.last(&["chmod-socket", "chmod"], output) {
        chmod(&mode, is_file, rest, output);
    }
}

/// uWSGI's address as `bind` has it.
pub(super) fn address(given: &IniOption, abstracts: bool) -> Result<String, &'static str> {
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
            Err("this may be a path or an address: set bind by hand")
        }
        Text::Plain(_) | Text::Expanded(_) if abstracts => Ok(format!("unix:@{text}")),
        Text::Plain(_) | Text::Expanded(_) => Ok(format!("unix:{text}")),
    }
}

/// The permissions of a socket file as `umask`, from which they follow.
fn chmod(given: &IniOption, is_file: bool, rest: &Remaining, output: &mut Output) {
    let text = if given.text().is_empty() {
        "666"
    } else {
        given.text()
    };
    let Some(mode) = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
    else {
        return output.omit(&given.source, "it is not a file mode");
    };
    if !is_file {
        return output.not_needed(&given.source, "there is no socket file");
    }
    if rest.0.iter().any(|given| given.key == "umask") {
        return output.omit(
            &given.source,
            "the umask, which another line sets, determines the permissions",
        );
    }
    // The app creates directories under this mask, too: whoever may read a file may enter them.
    let mask = !(mode | (mode & 0o444) >> 2) & 0o777;
    let text = if mask == 0 {
        "0".to_owned()
    } else {
        format!("0o{mask:03o}")
    };
    if output.set("umask", &Text::Plain(text), &given.source) {
        output.comment(
            "umask",
            format!(
                "For chmod-socket = {text}. It also applies to files that the app creates.",
                text = text_of(mode)
            ),
        );
    }
}

fn text_of(mode: u32) -> String {
    format!("{mode:o}")
}
