//! The rules that every row of the tables keeps.

use std::collections::BTreeSet;

use crate::{Layer, Origin, Origins, Settings, TABLE, Treatment, UNSUPPORTED};

#[test]
fn no_two_flags_are_alike() {
    let mut seen = BTreeSet::from([
        "help".to_owned(),
        "version".to_owned(),
        "generate".to_owned(),
        "h".to_owned(),
        "v".to_owned(),
    ]);
    let ours = TABLE
        .iter()
        .flat_map(|row| row.flags.iter().map(|flag| (flag.long, flag.short)));
    let unsupported = UNSUPPORTED
        .iter()
        .flat_map(|one| one.flags.iter().map(|flag| (*flag, None)));
    let shorts = UNSUPPORTED.iter().filter_map(|one| one.short);
    for (long, short) in ours.chain(unsupported) {
        assert!(seen.insert(long.to_owned()), "--{long} is given twice");
        assert!(
            short.is_none_or(|short| seen.insert(short.to_string())),
            "-{short:?} is given twice"
        );
        // gunicorn's own --limit-request-field_size has an underscore, and people have it in their
        // scripts.
        let fits = |sign: char| sign.is_ascii_lowercase() || matches!(sign, '-' | '2' | '_');
        assert!(long.chars().all(fits), "--{long}");
        assert!(
            !long.contains('_') || long == "limit-request-field_size",
            "--{long}"
        );
    }
    for short in shorts {
        assert!(seen.insert(short.to_string()), "-{short} is given twice");
    }
}

#[test]
fn names_and_variables_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for row in TABLE {
        assert!(seen.insert(row.name), "{} is given twice", row.name);
        assert!(
            row.name
                .chars()
                .all(|sign| sign.is_ascii_lowercase() || matches!(sign, '_' | '2')),
            "{}",
            row.name
        );
        if let Some(variable) = row.variable {
            let variable = variable.name;
            assert!(seen.insert(variable), "{variable} is given twice");
            assert!(
                variable
                    .chars()
                    .all(|sign| sign.is_ascii_uppercase() || sign == '_'),
                "{variable}"
            );
        }
    }
}

#[test]
fn defaults_parse_to_themselves_and_lie_in_their_range() {
    let defaults = Settings::default();
    for row in TABLE {
        let mut layer = Layer::default();
        let text = (row.default)();
        let texts: Vec<&str> = if text.is_empty() {
            Vec::new()
        } else {
            vec![&text]
        };
        let note = row
            .read(&mut layer, &texts)
            .unwrap_or_else(|refused| panic!("{}: {refused}", row.name));
        assert_eq!(note, None, "{}", row.name);
        let (mut settings, mut origins) = (defaults.clone(), Origins::default());
        layer.lay_over(&mut settings, &mut origins, &Origin::CommandLine);
        assert_eq!(settings, defaults, "{}", row.name);
        assert_eq!(
            origins.of(row.name),
            &Origin::CommandLine,
            "{} was not read",
            row.name
        );
    }
}

#[test]
fn documentation_is_in_sentences() {
    for row in TABLE {
        let summary = row.summary();
        let first = summary
            .split_inclusive(". ")
            .next()
            .unwrap_or_default()
            .trim_end();
        let name = row.name;
        assert!(
            first.starts_with(char::is_uppercase),
            "{name}: the first sentence begins without a capital: {first}"
        );
        let length = first.chars().count();
        assert!(
            length < 80,
            "{name}: the first sentence has {length} characters; at most 79, because help and hints \
             quote it: {first}"
        );
        for paragraph in row.paragraphs() {
            assert!(
                paragraph.ends_with('.'),
                "{name}: a paragraph does not end with a full stop: {paragraph}"
            );
        }
        assert_eq!(
            row.doc.matches('`').count() % 2,
            0,
            "{name}: a backtick has no counterpart"
        );
    }
}

#[test]
fn sections_stand_together_and_in_order() {
    for (row, next) in TABLE.iter().zip(TABLE.iter().skip(1)) {
        assert!(
            row.section <= next.section,
            "{}, of section {:?}, stands after {}, of section {:?}: rows are in the order of sections",
            next.name,
            next.section,
            row.name,
            row.section
        );
    }
}

#[test]
fn flags_with_a_value_have_a_name_for_it() {
    for row in TABLE {
        let valued = row.takes_value();
        let fits = |sign: char| sign.is_ascii_uppercase() || matches!(sign, '=' | '_');
        assert!(
            !row.value_name.is_empty() && row.value_name.chars().all(fits),
            "{}: the name of its value is not in capitals: {}",
            row.name,
            row.value_name
        );
        assert!(
            valued || row.flags.is_empty() || !row.choices.is_empty(),
            "{} has switches only",
            row.name
        );
    }
}

#[test]
fn switches_set_what_can_be_parsed() {
    for row in TABLE {
        for text in row.flags.iter().filter_map(|flag| flag.sets) {
            let mut layer = Layer::default();
            assert!(
                row.read(&mut layer, &[text]).is_ok(),
                "{}: {text}",
                row.name
            );
        }
    }
}

#[test]
fn reasons_are_phrases_that_fit_their_messages() {
    for unsupported in UNSUPPORTED {
        let texts = match unsupported.treatment {
            Treatment::Ignored(reason) => vec![reason],
            Treatment::Rejected(reason, instead) => vec![reason, instead],
        };
        for text in texts {
            assert!(
                !text.is_empty() && !text.ends_with('.'),
                "{:?}: {text}",
                unsupported.flags
            );
        }
    }
}

/// All settings of gunicorn; the black-box test of its names reads the same file.
const GUNICORN: &str = include_str!("gunicorn_settings.tsv");

/// The name and the flags of each.
fn gunicorn() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let rows = GUNICORN.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let [name, flags, _value, _outcome] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let flags = flags.split(',').filter_map(|flag| flag.strip_prefix("--"));
        (name, flags.collect())
    })
}

#[test]
fn every_name_of_gunicorn_is_known() {
    let all: Vec<&str> = gunicorn().map(|(name, _)| name).collect();
    assert_eq!(all.len(), 120);
    for name in &all {
        assert!(crate::file::is_known(name), "{name}");
    }
    for unsupported in UNSUPPORTED {
        assert!(all.contains(&unsupported.name), "{}", unsupported.name);
    }
}

#[test]
fn every_flag_of_gunicorn_is_known() {
    let command = crate::argv::command();
    let mut flags: BTreeSet<String> = BTreeSet::new();
    for arg in command.get_arguments() {
        flags.extend(arg.get_long().map(str::to_owned));
        flags.extend(
            arg.get_all_aliases()
                .into_iter()
                .flatten()
                .map(str::to_owned),
        );
    }
    for (name, of_gunicorn) in gunicorn() {
        for flag in of_gunicorn {
            assert!(flags.contains(flag), "--{flag} of {name}");
        }
    }
    assert!(flags.contains("help") && flags.contains("version"));
    crate::argv::command().debug_assert();
}

#[test]
fn documentation_is_split_into_paragraphs() {
    for row in TABLE {
        let empty = row.doc.lines().filter(|line| line.trim().is_empty());
        assert_eq!(
            row.paragraphs().len(),
            empty.count() + 1,
            "{}: {:?}",
            row.name,
            row.paragraphs()
        );
        for paragraph in row.paragraphs() {
            assert!(!paragraph.contains('\n'), "{paragraph}");
        }
    }
    let workers = TABLE.iter().find(|row| row.name == "workers").unwrap();
    assert_eq!(workers.paragraphs().len(), 2);
    assert_eq!(workers.summary(), "The number of workers, at least one.");
}
