//! TLS as packages have it: the program that speaks it lies beside the executable.

use std::fs;

use super::{Client, Pair, server};
use crate::packaging::portable::executable;
use crate::support::{Need, lacks};

#[test]
fn the_program_beside_the_executable_speaks_tls() {
    if lacks(&[Need::PortableWheel]) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let program = executable(folder.path());
    let pair = Pair::of(&["localhost"]);
    let tls = server(&pair).program([&program]).start();
    let environ = Client::of(&tls, &[]).environ("/");
    assert_eq!(environ["wsgi.url_scheme"], "https");
    tls.stop();
    fs::remove_file(program.with_file_name("rcorn-front")).unwrap();
    let refused = server(&pair)
        .program([&program])
        .allow("the program that speaks TLS is not there")
        .start();
    let ended = refused.exit();
    let text = ended.text();
    assert!(
        text.contains("rcorn-front: ") && text.contains("hint: install rcorn again"),
        "{text}"
    );
}
