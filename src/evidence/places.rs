//! Finds whose code is in a file: the app's, a library's, or that of the standard library.

use std::path::Path;

use pyo3::prelude::*;

use rcorn_settings::Settings;

/// Whose code it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The app's: everything else. The path is relative to the app's directory if the file is
    /// there.
    App(String),
    /// That of an installed library; relative to the directory that it is installed in.
    Library(String),
    /// The standard library's, or that of [`FOREIGN`], which calls C functions as `ctypes` does;
    /// relative to its directory.
    Standard(String),
    /// Code without a file: made at run time, frozen into the interpreter, or rcorn's own.
    Nobody,
}

/// Where code is.
#[derive(Debug)]
pub(crate) struct Places {
    /// The working directory of the settings, with a slash at its end.
    app: String,
    /// The package, or module, of `wsgi_app`: it is the app's own code even if it is installed like
    /// a library.
    package: String,
    /// The directories of the standard library, each with a slash at its end.
    standard: Vec<String>,
}

/// What an app calls through this library it calls itself.
const FOREIGN: &str = "cffi";

/// Where libraries are installed.
const SITES: [&str; 2] = ["/site-packages/", "/dist-packages/"];

impl Places {
    pub(crate) fn new(py: Python<'_>, settings: &Settings) -> Self {
        let module = settings.wsgi_app.as_ref().map(|app| app.module.as_str());
        let package = module.and_then(|module| module.split('.').next());
        Self {
            app: directory(&settings.chdir.to_string_lossy()),
            package: package.unwrap_or_default().to_owned(),
            standard: standard(py),
        }
    }

    #[cfg(test)]
    pub(crate) fn at(app: &str, package: &str, standard: &str) -> Self {
        Self {
            app: directory(app),
            package: package.to_owned(),
            standard: vec![directory(standard)],
        }
    }

    /// Whose code is in this file (`co_filename`).
    pub(crate) fn owner(&self, file: &str) -> Owner {
        if file.starts_with('<') {
            return Owner::Nobody;
        }
        // A whole app may be in such a directory.
        let in_app = file.strip_prefix(&self.app);
        let text = in_app.map_or_else(|| file.to_owned(), |rest| format!("/{rest}"));
        let site = SITES
            .iter()
            .filter_map(|site| text.rsplit_once(site))
            .min_by_key(|(_, rest)| rest.len());
        if let Some((_, rest)) = site {
            let package = rest.split('/').next().unwrap_or(rest);
            let package = package.strip_suffix(".py").unwrap_or(package);
            let rest = rest.to_owned();
            return if package == self.package {
                Owner::App(rest)
            } else if package == FOREIGN {
                Owner::Standard(rest)
            } else {
                Owner::Library(rest)
            };
        }
        let standard = self.standard.iter().find_map(|one| file.strip_prefix(one));
        match (standard, in_app) {
            (Some(rest), _) => Owner::Standard(rest.to_owned()),
            (None, Some(rest)) => Owner::App(rest.to_owned()),
            (None, None) => Owner::App(file.to_owned()),
        }
    }

    /// A text with paths in the app's directory as the app would write them.
    pub(crate) fn shorten(&self, text: &str) -> String {
        text.replace(&self.app, "")
    }
}

fn directory(path: &str) -> String {
    format!("{}/", path.trim_end_matches('/'))
}

/// The directories that the standard library's own modules say they are in, as written and without
/// links.
fn standard(py: Python<'_>) -> Vec<String> {
    let mut found = Vec::new();
    // A pure module and an extension module, because they may be in two places.
    for module in ["os", "_random"] {
        let Ok(file) = py
            .import(module)
            .and_then(|module| module.getattr("__file__"))
        else {
            continue;
        };
        let Ok(file) = file.extract::<String>() else {
            continue;
        };
        let Some(folder) = Path::new(&file).parent() else {
            continue;
        };
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        for folder in [folder, &real] {
            let folder = directory(&folder.to_string_lossy());
            if !found.contains(&folder) {
                found.push(folder);
            }
        }
    }
    found
}
