//! Checks of the merged settings that involve several of them or the directory in which rcorn was
//! started. Reads the file system and changes nothing in it.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::address::Address;
use super::allow::AllowList;
use super::choice::Preload;
use super::environment::{Environment, non_empty};
use super::error::Error;
use super::origin::{Origin, Origins};
use super::refusal::Refused;
use super::rows::{Settings, TABLE};
use super::static_files;
use super::tls_check;
use super::worker_class;

/// Completes the settings, or gives the reason why rcorn cannot run with them. `worker_bases`: the
/// classes that the `worker_class` of the configuration file is based on.
pub(super) fn complete(
    settings: &mut Settings,
    origins: &Origins,
    worker_bases: &[String],
    directory: &Path,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if settings.wsgi_app.is_none() {
        return Err(Error::NoApp);
    }
    addresses(settings, origins)?;
    let at = || place_of("worker_class", origins);
    worker_class::settle(settings, origins, worker_bases, at, warnings)?;
    path("reload_probe", settings.reload_probe.as_deref(), origins)?;
    path("health_path", settings.health_path.as_deref(), origins)?;
    status_address(settings, origins)?;
    places(settings, directory)?;
    static_files::settle(settings, |setting| place_of(setting, origins), warnings)?;
    tls_check::settle(settings, |setting| place_of(setting, origins), warnings)?;
    log_files(settings, warnings);
    spare_workers(settings, warnings);
    // They are compared with names in the form of the environ.
    for name in &mut settings.forwarder_headers {
        name.make_ascii_uppercase();
    }
    for (name, _value) in &mut settings.secure_scheme_headers {
        name.make_ascii_uppercase();
    }
    Ok(())
}

/// There is at least one address, and none twice: the second bind would fail.
fn addresses(settings: &Settings, origins: &Origins) -> Result<(), Error> {
    let mut seen = Vec::new();
    let again = settings.bind.iter().map(Address::socket).find(|socket| {
        let chosen_by_kernel = matches!(socket, Address::Tcp { port: 0, .. });
        let again = !chosen_by_kernel && seen.contains(socket);
        seen.push(*socket);
        again
    });
    let (value, what, hint) = match again {
        Some(socket) => (
            socket.to_string(),
            "is given twice",
            "name each address once, with or without uwsgi://",
        ),
        None if seen.is_empty() => (
            String::new(),
            "is not an address to listen on",
            "name an address, or leave it out for 127.0.0.1:8000",
        ),
        None => return Ok(()),
    };
    let refused = Refused {
        value,
        what: what.to_owned(),
        hint: Some(hint.to_owned()),
    };
    Err(Error::Value {
        at: place_of("bind", origins),
        refused,
    })
}

/// A path is written into a request line, or compared with one, unchanged.
fn path(setting: &str, path: Option<&str>, origins: &Origins) -> Result<(), Error> {
    let Some(path) = path else {
        return Ok(());
    };
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let refused = Refused {
        value: path.to_owned(),
        what: "is not a path".to_owned(),
        hint: Some(
            "it begins with a slash, has no blanks, and all else is percent-encoded: /health"
                .to_owned(),
        ),
    };
    Err(Error::Value {
        at: place_of(setting, origins),
        refused,
    })
}

/// The status shows request lines of clients, so an address that others can reach names who may
/// ask.
fn status_address(settings: &Settings, origins: &Origins) -> Result<(), Error> {
    let Some(address) = &settings.status_bind else {
        return Ok(());
    };
    let refused = |what: &str, hint: &str| {
        let refused = Refused {
            value: address.to_string(),
            what: what.to_owned(),
            hint: Some(hint.to_owned()),
        };
        let at = place_of("status_bind", origins);
        Err(Error::Value { at, refused })
    };
    let form = "write 127.0.0.1:9090, [::1]:9090 or unix:/run/rcorn/status.sock";
    match address {
        Address::Unix(_) => Ok(()),
        Address::Tcp { host, .. } => match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() || settings.status_allow != AllowList::default() => Ok(()),
            Ok(_) => refused(
                "can be reached by others, to whom it would show the requests of clients",
                "name who may ask, such as --status-allow 10.0.0.0/8, or listen on 127.0.0.1",
            ),
            Err(_) if host == "localhost" => Ok(()),
            Err(_) => refused("is not an IP address", form),
        },
        Address::Abstract(_) | Address::Fd(_) | Address::Uwsgi(_) | Address::Https(_) => {
            refused("is no address for the status", form)
        }
    }
}

/// How the operator would find a setting: by the variable, else by the flag.
fn place_of(setting: &str, origins: &Origins) -> String {
    match origins.of(setting) {
        Origin::Environment(variable) => (*variable).to_owned(),
        origin @ Origin::File(..) => format!("{origin}: {setting}"),
        Origin::CommandLine | Origin::Default => {
            let flags = TABLE
                .iter()
                .filter(|row| row.name == setting)
                .flat_map(|row| row.flags);
            flags
                .map(|flag| format!("--{}", flag.long))
                .next()
                .unwrap_or_default()
        }
    }
}

/// Makes relative places absolute, before anyone changes the directory.
fn places(settings: &mut Settings, launch: &Path) -> Result<(), Error> {
    let chdir = plain(&launch.join(&settings.chdir));
    let cannot = |source| Error::Chdir {
        path: chdir.clone(),
        source,
    };
    if !fs::metadata(&chdir).map_err(cannot)?.is_dir() {
        return Err(cannot(io::Error::from(io::ErrorKind::NotADirectory)));
    }
    if chdir.to_str().is_none() {
        let text = chdir.to_string_lossy().into_owned();
        return Err(Error::NotText {
            at: "the working directory".to_owned(),
            text,
        });
    }
    for path in settings
        .pythonpath
        .iter_mut()
        .chain(&mut settings.reload_extra_files)
    {
        *path = plain(&chdir.join(&*path));
    }
    if let Some(python) = &mut settings.python {
        *python = program(python, launch);
    }
    for path in [&mut settings.logconfig, &mut settings.logconfig_json]
        .into_iter()
        .flatten()
    {
        *path = plain(&launch.join(&*path));
    }
    if let Some(socket) = &mut settings.control_socket {
        *socket = plain(&launch.join(&*socket));
    }
    settings.chdir = chdir;
    Ok(())
}

/// A bare name is looked for in PATH; with a slash it is a file, seen from where it was typed.
pub(super) fn program(path: &Path, launch: &Path) -> PathBuf {
    if path.components().nth(1).is_some() {
        plain(&launch.join(path))
    } else {
        path.to_owned()
    }
}

/// Two that shape the same loggers.
fn log_files(settings: &Settings, warnings: &mut Vec<String>) {
    let given = [
        ("logconfig_dict", settings.logconfig_dict.is_some()),
        ("logconfig_json", settings.logconfig_json.is_some()),
        ("logconfig", settings.logconfig.is_some()),
    ];
    let mut given = given
        .iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| name);
    if let (Some(used), Some(other)) = (given.next(), given.next()) {
        warnings.push(format!("{other} has no effect beside {used}"));
    }
}

/// Where the import is shared, none are kept.
fn spare_workers(settings: &Settings, warnings: &mut Vec<String>) {
    if settings.spare_workers > 0 && settings.preload_app == Preload::On {
        warnings.push(
            "spare_workers has no effect beside preload_app: on; a worker is forked as quickly"
                .to_owned(),
        );
    }
}

/// The directory in which rcorn was started, by the name that the shell uses. If deployments move a
/// symbolic link, the link must stay in the path, or a reload would load the old release.
///
/// # Errors
///
/// There is no current directory: it was removed.
pub fn launch_directory(environment: &Environment<'_>) -> Result<PathBuf, Error> {
    let real = env::current_dir().map_err(|source| Error::LaunchDirectory { source })?;
    let spelled = non_empty(environment, "PWD")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let is_same = |path: &PathBuf| match (fs::metadata(path), fs::metadata(&real)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (_, _) => false,
    };
    Ok(spelled.filter(is_same).unwrap_or(real))
}

/// Without `.` and doubled slashes; `..` stays, because a link before it decides where it leads.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
