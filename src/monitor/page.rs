//! The page for people: one file, without a resource from anywhere else. Its script asks for
//! `/status.json` again and again, and writes what it gets as text, never as markup.

/// The page.
pub(super) const PAGE: &str = include_str!("page.html");

/// Nothing runs or is fetched but what the page brings, named by its digest, and the status.
/// `RCORN_BLESS=1 cargo test --test blackbox the_digests_of_the_page` renews the digests.
pub(super) const CONTENT_SECURITY_POLICY: &str = concat!(
    "default-src 'none'; script-src 'sha256-",
    include_str!("page.script.sha256"),
    "'; style-src 'sha256-",
    include_str!("page.style.sha256"),
    "'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);

#[cfg(test)]
mod tests {
    use rcorn_scoreboard::BOUNDS_MICROSECONDS;

    use super::*;

    /// Its script estimates percentiles from the buckets of the status.
    #[test]
    fn the_page_knows_the_bounds_of_the_buckets() {
        let bounds = BOUNDS_MICROSECONDS.map(|bound| bound.to_string());
        let line = format!("const BOUNDS = [{}];", bounds.join(", "));
        assert!(PAGE.contains(&line), "{line}");
    }

    #[test]
    fn what_is_shown_is_written_as_text() {
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
        ] {
            assert!(!PAGE.contains(markup), "{markup}");
        }
    }
}
