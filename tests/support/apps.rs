//! Where the apps of tests and examples are, and small ones that many tests write to a file.

/// The root of the source tree.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The apps of the tests.
pub(crate) const APPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps");
/// The examples.
pub(crate) const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// An app that answers `old`; a test that deploys a new one replaces the word.
pub(crate) const OLD: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'old']
";
