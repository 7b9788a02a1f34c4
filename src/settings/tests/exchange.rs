//! Settings as JSON: the form in which one build hands them over to another.

use crate::{Settings, TABLE};

fn json(settings: &Settings) -> serde_json::Map<String, serde_json::Value> {
    let json = serde_json::to_value(settings).unwrap();
    json.as_object().unwrap().clone()
}

#[test]
fn a_build_without_one_of_our_settings_can_hand_over_to_us() {
    let settings = Settings {
        workers: crate::Workers::Count(7),
        ..Settings::default()
    };
    for row in TABLE {
        let mut map = json(&settings);
        assert!(map.remove(row.name).is_some(), "{}", row.name);
        let read: Settings = serde_json::from_value(map.into()).unwrap();
        let expected = if row.name == "workers" {
            Settings::default()
        } else {
            settings.clone()
        };
        assert_eq!(read, expected, "{}", row.name);
    }
}

#[test]
fn a_setting_that_we_do_not_have_is_passed_over() {
    let mut map = json(&Settings::default());
    map.insert("a_setting_of_tomorrow".to_owned(), vec![1, 2].into());
    let read: Settings = serde_json::from_value(map.into()).unwrap();
    assert_eq!(read, Settings::default());
}

#[test]
fn every_setting_survives_the_way_through_json() {
    let settings = Settings::default();
    let read: Settings = serde_json::from_value(json(&settings).into()).unwrap();
    assert_eq!(read, settings);
}
