//! The settings of static files, checked together.

use glob::Pattern;

use super::error::Error;
use super::refusal::Refused;
use super::rows::Settings;

/// Makes the directories absolute, or gives the reason why a prefix, a pattern or a name means
/// nothing. `place_of`: where the operator finds a setting.
pub(super) fn settle(
    settings: &mut Settings,
    place_of: impl Fn(&str) -> String,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let refused = |setting: &str| {
        let at = place_of(setting);
        |refused| Error::Value { at, refused }
    };
    for map in &mut settings.static_files {
        check_map(map).map_err(refused("static_files"))?;
        let (prefix, directory) = map;
        let path = settings.chdir.join(&*directory);
        if !path.exists() {
            warnings.push(format!(
                "{}: {} does not exist; requests below {prefix} get 404 until it does",
                place_of("static_files"),
                path.display()
            ));
        }
        // The directory began as text, and so did `chdir`.
        *directory = path.to_string_lossy().into_owned();
    }
    for rule in &settings.static_cache_control {
        check_cache_control(rule).map_err(refused("static_cache_control"))?;
    }
    if let Some(name) = &settings.static_index {
        check_index(name).map_err(refused("static_index"))?;
    }
    Ok(())
}

fn refuse(value: &str, what: impl Into<String>, hint: &str) -> Result<(), Refused> {
    Err(Refused {
        value: value.to_owned(),
        what: what.into(),
        hint: Some(hint.to_owned()),
    })
}

fn check_map((prefix, directory): &(String, String)) -> Result<(), Refused> {
    if !is_prefix(prefix) {
        let hint = "it begins with a slash, is not percent-encoded, and no part of it begins with a dot: /static";
        return refuse(prefix, "is not the beginning of a path", hint);
    }
    if directory.is_empty() {
        let hint = "name both: --static /static=/srv/shop/static";
        return refuse(prefix, "names no directory", hint);
    }
    Ok(())
}

fn check_cache_control((pattern, value): &(String, String)) -> Result<(), Refused> {
    if let Err(error) = Pattern::new(pattern) {
        let what = format!("is not a pattern: {}", error.msg);
        return refuse(
            pattern,
            what,
            "write [*] for a star, and close each bracket",
        );
    }
    if value.is_empty() || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let hint = "it is printable ASCII, such as: public, max-age=3600";
        return refuse(value, "is not a value of Cache-Control", hint);
    }
    Ok(())
}

fn check_index(name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return refuse(
            name,
            "is not the name of a file",
            "name the file alone: index.html",
        );
    }
    Ok(())
}

fn is_prefix(prefix: &str) -> bool {
    let Some(rest) = prefix.strip_prefix('/') else {
        return false;
    };
    let is_plain = |character: char| !character.is_control() && !"%?#\\".contains(character);
    let mut parts = rest.split('/');
    rest.chars().all(is_plain) && parts.all(|part| !part.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(change: impl FnOnce(&mut Settings)) -> Result<(Settings, Vec<String>), String> {
        let mut settings = Settings {
            chdir: "/srv".into(),
            ..Settings::default()
        };
        change(&mut settings);
        let mut warnings = Vec::new();
        let at = |setting: &str| format!("--{setting}");
        settle(&mut settings, at, &mut warnings)
            .map(|()| (settings, warnings))
            .map_err(|error| error.to_string())
    }

    fn pair(one: &str, other: &str) -> Vec<(String, String)> {
        vec![(one.to_owned(), other.to_owned())]
    }

    #[test]
    fn directories_are_seen_from_chdir_and_a_missing_one_is_told() {
        let (settings, warnings) =
            settled(|settings| settings.static_files = pair("/static", "shop/static")).unwrap();
        assert_eq!(settings.static_files, pair("/static", "/srv/shop/static"));
        assert_eq!(
            warnings,
            [
                "--static_files: /srv/shop/static does not exist; requests below /static get 404 until it does"
            ]
        );
        let (settings, warnings) =
            settled(|settings| settings.static_files = pair("/", "/")).unwrap();
        assert_eq!((settings.static_files, warnings.len()), (pair("/", "/"), 0));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for prefix in [
            "static", "", "/..", "/a/../b", "/.git", "/a%20b", "/a?b", "/a\u{7}",
        ] {
            let error = settled(|settings| settings.static_files = pair(prefix, "/")).unwrap_err();
            assert!(
                error.contains("is not the beginning of a path"),
                "{prefix}: {error}"
            );
        }
        let error = settled(|settings| settings.static_files = pair("/a", "")).unwrap_err();
        assert!(error.contains("names no directory"), "{error}");
        let error =
            settled(|settings| settings.static_cache_control = pair("[a", "no-cache")).unwrap_err();
        assert!(error.contains("is not a pattern"), "{error}");
        for value in ["", "no-cache\r\nX: y", "caf\u{e9}"] {
            let error =
                settled(|settings| settings.static_cache_control = pair("*", value)).unwrap_err();
            assert!(
                error.contains("is not a value of Cache-Control"),
                "{value:?}: {error}"
            );
        }
        for name in ["a/b", "../a", ".a", "", "a/"] {
            let error =
                settled(|settings| settings.static_index = Some(name.to_owned())).unwrap_err();
            assert!(
                error.contains("is not the name of a file"),
                "{name}: {error}"
            );
        }
    }
}
