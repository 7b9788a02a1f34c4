//! Needs no interpreter but to link.

use crate::places::{Owner, Places};
use crate::verdict::{Finding, Verdict};

#[test]
fn code_is_told_apart_by_its_file() {
    let places = Places::at("/srv/shop", "shop", "/usr/lib/python3.11");
    for (file, owner) in [
        ("/srv/shop/ids.py", Owner::App("ids.py".to_owned())),
        (
            "/srv/lib/other.py",
            Owner::App("/srv/lib/other.py".to_owned()),
        ),
        (
            "/srv/shop/.venv/lib/python3.11/site-packages/flask/app.py",
            Owner::Library("flask/app.py".to_owned()),
        ),
        (
            "/usr/lib/python3/dist-packages/six.py",
            Owner::Library("six.py".to_owned()),
        ),
        (
            "/venv/lib/python3.11/site-packages/shop/ids.py",
            Owner::App("shop/ids.py".to_owned()),
        ),
        (
            "/usr/lib/python3.11/json/decoder.py",
            Owner::Standard("json/decoder.py".to_owned()),
        ),
        (
            "/venv/lib/python3.11/site-packages/cffi/api.py",
            Owner::Standard("cffi/api.py".to_owned()),
        ),
        ("<string>", Owner::Nobody),
    ] {
        assert_eq!(places.owner(file), owner, "{file}");
    }
    let places = Places::at(
        "/usr/lib/python3/dist-packages/site",
        "site",
        "/usr/lib/python3.11",
    );
    let file = "/usr/lib/python3/dist-packages/site/app.py";
    assert_eq!(places.owner(file), Owner::App("app.py".to_owned()));
}

#[test]
fn the_last_line_says_how_many_more_there_are() {
    let last = |count: usize| {
        let finding = Finding {
            place: None,
            what: "makes a pipe".to_owned(),
        };
        let verdict = Verdict::Findings(vec![finding; count]);
        verdict.lines().last()
    };
    let words = |count| last(count).expect("a line");
    assert_eq!(words(5), "the app's import makes a pipe");
    assert_eq!(words(6), "1 more finding at import");
    assert_eq!(words(7), "2 more findings at import");
}
