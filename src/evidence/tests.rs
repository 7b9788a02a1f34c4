//! Needs no interpreter but to link.

use crate::places::{Owner, Places};

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
