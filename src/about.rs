//! `rcorn --version --verbose [OPTIONS]`.

use std::ffi::{OsStr, OsString};

use rcorn_driver::{self as driver, Origin};
use rcorn_settings::{self as settings, Error, Invocation, Resolved, process_environment};
use rcorn_types::{CommandError, ExitStatus, NEWEST_PYTHON};

use crate::built::{MODULES, build};
use crate::terminal::{print, warn};

/// OPTIONS, if the words ask for the version in full.
pub(crate) fn asked(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let words = arguments.get(1..)?;
    let is = |word: &OsString, among: &[&str]| among.iter().any(|one| word == OsStr::new(one));
    let version = ["-v", "--version"];
    let is_asked = words.iter().any(|word| is(word, &version))
        && words.iter().any(|word| is(word, &["--verbose"]));
    let others = words
        .iter()
        .filter(|word| !is(word, &version) && !is(word, &["--verbose"]));
    is_asked.then(|| others.cloned().collect())
}

/// Prints the build, and the Python that would run the app.
pub(crate) fn run(
    arguments: &[OsString],
    mut words: Vec<OsString>,
) -> Result<ExitStatus, CommandError> {
    let build = build();
    let (major, minor) = NEWEST_PYTHON;
    print(&format!(
        "rcorn (version {})\n\
         build      {}, {}, {}, sources {}\n\
         modules    {}, for CPython 3.9 to {major}.{minor}, and later ones with the GIL\n",
        env!("CARGO_PKG_VERSION"),
        build.target,
        build.profile,
        build.rustc,
        build.sources,
        build.modules.join(", "),
    ));
    let failed = |error: Error| error.command_error();
    let directory = settings::launch_directory(&process_environment).map_err(failed)?;
    let origin = Origin::of_process(arguments, &directory)
        .map_err(|source| failed(Error::LaunchDirectory { source }))?;
    let mut resolved = resolve(&words, &origin);
    if matches!(resolved, Err(Error::NoApp)) {
        // Which app it is decides nothing here.
        words.push("app:app".into());
        resolved = resolve(&words, &origin);
    }
    let resolved = resolved.map_err(failed)?;
    warn(&resolved.warnings);
    driver::about(&resolved.settings, &origin, MODULES, &mut std::io::stdout())
        .map_err(|error| error.command_error())
}

fn resolve(words: &[OsString], origin: &Origin) -> Result<Resolved, Error> {
    let words = words.iter().cloned();
    match settings::collect(words, &process_environment, origin.directory.clone())? {
        Invocation::Serve(sources) => driver::resolve(*sources, origin),
        Invocation::Print(_) | Invocation::Generate(_) => Err(Error::NoApp),
    }
}
