//! The rules that every row of the tables keeps.

use std::collections::BTreeSet;

use crate::{Answer, KNOWN, Layer, Origin, Origins, Section, Settings, TABLE};

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
    let known = KNOWN
        .iter()
        .flat_map(|known| known.flags.iter().map(|flag| (*flag, None)));
    let shorts = KNOWN.iter().filter_map(|known| known.short);
    for (long, short) in ours.chain(known) {
        assert!(seen.insert(long.to_owned()), "--{long} is there twice");
        assert!(
            short.is_none_or(|short| seen.insert(short.to_string())),
            "-{short:?} is there twice"
        );
        // gunicorn's own --limit-request-field_size has an underscore, and people have it in their scripts.
        let fits = |sign: char| sign.is_ascii_lowercase() || matches!(sign, '-' | '2' | '_');
        assert!(long.chars().all(fits), "--{long}");
        assert!(
            !long.contains('_') || long == "limit-request-field_size",
            "--{long}"
        );
    }
    for short in shorts {
        assert!(seen.insert(short.to_string()), "-{short} is there twice");
    }
}

#[test]
fn names_and_variables_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for row in TABLE {
        assert!(seen.insert(row.name), "{} is there twice", row.name);
        assert!(
            row.name
                .chars()
                .all(|sign| sign.is_ascii_lowercase() || sign == '_'),
            "{}",
            row.name
        );
        if let Some(variable) = row.variable {
            assert!(seen.insert(variable), "{variable} is there twice");
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
        assert!(
            first.starts_with(char::is_uppercase),
            "{}: {first}",
            row.name
        );
        assert!(
            first.chars().count() < 80,
            "{}: {} signs: {first}",
            row.name,
            first.chars().count()
        );
        for paragraph in row.doc.split("\n \n") {
            assert!(
                paragraph.trim_end().ends_with('.'),
                "{}: {paragraph}",
                row.name
            );
        }
        assert_eq!(row.doc.matches('`').count() % 2, 0, "{}", row.name);
    }
}

#[test]
fn sections_stand_together_and_in_order() {
    let sections: Vec<Section> = TABLE.iter().map(|row| row.section).collect();
    assert!(sections.is_sorted());
}

#[test]
fn flags_with_a_value_have_a_name_for_it() {
    for row in TABLE {
        let valued = row.flags.iter().any(|flag| flag.sets.is_none());
        let fits = |sign: char| sign.is_ascii_uppercase() || matches!(sign, '=' | '_');
        assert!(
            !row.value_name.is_empty() && row.value_name.chars().all(fits),
            "{}",
            row.name
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
fn answers_are_phrases_that_fit_their_messages() {
    for known in KNOWN {
        let texts = match known.answer {
            Answer::Ignored(reason) => vec![reason],
            Answer::Never(reason, instead) => vec![reason, instead],
        };
        for text in texts {
            assert!(
                !text.is_empty() && !text.ends_with('.'),
                "{:?}: {text}",
                known.flags
            );
        }
    }
}

/// The flags of gunicorn 27's command line.
const GUNICORN: &str = "config bind backlog workers worker-class threads worker-connections max-requests \
    max-requests-jitter timeout graceful-timeout keep-alive asgi-loop asgi-lifespan \
    asgi-disconnect-grace-period websocket-max-message-size http-parser limit-request-line \
    limit-request-fields limit-request-field_size reload reload-engine reload-extra-file spew check-config \
    print-config preload no-sendfile reuse-port chdir daemon env pid worker-tmp-dir user group umask \
    initgroups forwarded-allow-ips pythonpath paste paster proxy-protocol proxy-allow-from protocol \
    uwsgi-allow-from paste-global permit-obsolete-folding strip-header-spaces \
    permit-unconventional-http-method permit-unconventional-http-version casefold-http-method \
    forwarder-headers header-map root-path access-logfile disable-redirect-access-to-syslog \
    access-logformat error-logfile log-file log-level capture-output logger-class log-config \
    log-config-json log-syslog-to log-syslog log-syslog-prefix log-syslog-facility \
    enable-stdio-inheritance statsd-host dogstatsd-tags statsd-prefix enable-backlog-metric name keyfile \
    certfile ssl-version cert-reqs ca-certs suppress-ragged-eofs do-handshake-on-connect ciphers \
    http-protocols http2-cleartext http2-max-concurrent-streams http2-initial-window-size \
    http2-max-frame-size http2-max-header-list-size dirty-app dirty-workers dirty-timeout dirty-threads \
    dirty-graceful-timeout control-socket control-socket-mode no-control-socket help version";

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
    let missing: Vec<&str> = GUNICORN
        .split_whitespace()
        .filter(|flag| !flags.contains(*flag))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    crate::argv::command().debug_assert();
}
