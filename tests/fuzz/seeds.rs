//! Writes the corpus as seeds: `seeds FOLDER` makes one folder a target.

use std::path::Path;
use std::{env, fs};

#[path = "../corpus/format.rs"]
#[allow(dead_code, reason = "the rest is for the tests")]
mod format;

fn main() {
    let root = env::args_os().nth(1).expect("the folder to write to");
    let root = Path::new(&root);
    for case in format::Case::all_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")) {
        let body = case.sent.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let (target, choices, sent): (_, &[u8], _) = match case.name.split('/').next() {
            Some("uwsgi") => ("packet", &[0x80], &case.sent[..]),
            Some("proxy") => ("preface", &[0], &case.sent[..]),
            Some("chunks") => (
                "chunked",
                &[0x80],
                &case.sent[body.map_or(0, |at| at + 4)..],
            ),
            _ => ("connection", &[0, 0x80], &case.sent[..]),
        };
        write(root, target, &case.name, &[choices, sent].concat());
        if target == "chunked" || target == "preface" {
            // And as a part of connections; the highest bit asks for PROXY headers.
            write(
                root,
                "connection",
                &case.name,
                &[&[0x80, 0x80], &case.sent[..]].concat(),
            );
        }
    }
}

fn write(root: &Path, target: &str, name: &str, bytes: &[u8]) {
    let folder = root.join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name.replace('/', "-")), bytes).unwrap();
}
