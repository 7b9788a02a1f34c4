//! States that the first build (cb54ddf) wrote down. An upgrade in place hands such a state to
//! today's build (and, if that one is taken back, today's to the old one), so names and shapes on
//! the wire stay.

use super::*;

macro_rules! saved {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("saved/", $name, ".json")))),+]
    };
}

const SAVED: [(&str, &str); 16] = saved![
    "new",
    "started",
    "template-starting",
    "serving",
    "throttled",
    "hung",
    "loading",
    "reloading",
    "rolling",
    "watching",
    "stop-delayed",
    "stopping",
    "stopping-killed",
    "stopping-template",
    "failed-to-boot",
    "gone",
];

#[test]
fn states_of_build_cb54ddf_are_read_and_written_unchanged() {
    for (name, text) in SAVED {
        let arbiter: Arbiter =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = serde_json::to_value(&arbiter).unwrap();
        let saved: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(written, saved, "{name}");
    }
}
