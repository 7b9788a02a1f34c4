//! `rcorn invoke`: events of every shape.

use serde_json::Value;
use tempfile::TempDir;

use super::{EVENTS, event};
use crate::support::{APPS, Once};

fn invoke(app: &str, words: &[&str]) -> Once {
    Once::rcorn(["invoke", app, "--chdir", EVENTS].iter().chain(words))
}

#[test]
fn every_shape_of_event_is_answered() {
    for name in [
        "aws-rest-v1",
        "aws-http-v2",
        "aws-function-url",
        "aws-alb",
        "aws-alb-multi",
        "jd-gateway",
    ] {
        let left = invoke("greet:app", &["--event", &event(name)]).run();
        let response: Value = serde_json::from_str(&left.done()).unwrap();
        assert_eq!(response["statusCode"], 200, "{name}");
        assert_eq!(
            response["body"], "Hello, Zo\u{eb} & Co! This is a function.\n",
            "{name}"
        );
        assert_eq!(response["isBase64Encoded"], false, "{name}");
        assert_eq!(left.errors, "", "{name}");
    }
}

#[test]
fn event_and_context_come_from_files_or_standard_input() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "m.py",
        "
def app(environ, start_response):
    print('printed')
    context = environ['function.context']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    said = context and (context.name, context['name'], environ['function.event']['path'])
    return [repr(said).encode()]
",
    );
    write("context.json", r#"{"name": "shop"}"#);
    let run = |words: &[&str], input: String| {
        let words = ["invoke", "m:app"].iter().chain(words);
        Once::rcorn(words).within(folder.path()).input(input).run()
    };
    let text = std::fs::read_to_string(event("aws-alb")).unwrap();
    let left = run(&["--event", "-", "--context", "context.json"], text.clone());
    let response: Value = serde_json::from_str(&left.done()).unwrap();
    assert_eq!(response["body"], "('shop', 'shop', '/greet/caf%C3%A9')");
    assert_eq!(left.errors, "printed\n");
    let left = run(&["--event", &event("aws-alb")], String::new());
    let response: Value = serde_json::from_str(&left.done()).unwrap();
    assert_eq!(response["body"], "None");
    let left = run(&["--event", "-", "--context", "-"], text);
    assert_eq!(left.status.code(), Some(2), "{left:?}");
}

#[test]
fn what_cannot_be_invoked_is_explained() {
    let refused = |once: Once, code: i32, words: &[&str]| {
        let left = once.run();
        assert_eq!(
            (left.status.code(), left.text().as_str()),
            (Some(code), ""),
            "{left:?}"
        );
        for word in words {
            assert!(left.errors.contains(word), "no {word:?} in {}", left.errors);
        }
    };
    let given = |text: &str| invoke("greet:app", &["--event", "-"]).input(text);
    refused(
        given(r#"{"Records": []}"#),
        1,
        &[
            "its keys are Records",
            "requestContext.elb",
            "detail",
            "httpMethod",
            "hint:",
        ],
    );
    refused(given("[1]"), 1, &["the event is a list"]);
    refused(given("{"), 1, &["the event in standard input is not JSON"]);
    refused(
        invoke("greet:app", &["--event", "/nonexistent"]),
        1,
        &["/nonexistent", "No such file", "hint:"],
    );
    refused(invoke("greet:app", &[]), 2, &["--event <FILE> is missing"]);
    refused(
        invoke("greet:nothing", &["--event", &event("aws-alb")]),
        4,
        &["Failed to find attribute 'nothing' in 'greet'. Callables there: app."],
    );
    refused(
        invoke("nowhere", &["--event", &event("aws-alb")]),
        3,
        &["No module named 'nowhere'"],
    );
    refused(
        invoke("greet:app", &["--event", &event("aws-alb"), "other:app"]),
        2,
        &["two apps are named, the second is 'other:app'"],
    );
}

#[test]
fn an_app_that_raises_gives_a_500_object() {
    let words = ["invoke", "cases:app", "--chdir", APPS, "--event", "-"];
    let raises = r#"{"httpMethod": "GET", "path": "/raises_midway"}"#;
    let left = Once::rcorn(words).input(raises).run();
    let response: Value = serde_json::from_str(&left.done()).unwrap();
    assert_eq!(response["statusCode"], 500);
    assert!(
        left.errors.contains("ValueError: raised on purpose"),
        "{left:?}"
    );
}
