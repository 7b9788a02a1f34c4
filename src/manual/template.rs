//! A file with every setting, commented out, with its documentation and its default.

use serde_json::Value as Json;

use super::entries::default_json;
use rcorn_migrate::yaml::{self, is_map};
use rcorn_settings::{Section, Setting, TABLE};

const HEAD: &str = "\
## Every setting of rcorn with its default. Made by `rcorn --generate template`; rcorn.yaml(5) says more.
## Lines that begin with two signs explain; take the sign away from the others to change them.
";

/// The file.
pub(super) fn template() -> String {
    let mut out = HEAD.to_owned();
    let mut section: Option<Section> = None;
    for row in TABLE {
        if section != Some(row.section) {
            section = Some(row.section);
            out.extend(["\n## ---- ", row.section.title(), " ----\n"]);
        }
        out.push('\n');
        for line in row.doc.trim_end().lines() {
            out.push_str(format!("## {}", line.trim()).trim_end());
            out.push('\n');
        }
        for line in default(row).lines() {
            out.extend(["#", line, "\n"]);
        }
    }
    out
}

/// The setting with its default, as YAML.
fn default(row: &Setting) -> String {
    let texts = |items: &[Json]| -> Vec<String> {
        let text = |item: &Json| {
            item.as_str()
                .map_or_else(|| item.to_string(), str::to_owned)
        };
        items.iter().map(text).collect()
    };
    match default_json(row) {
        Json::Null => yaml::entry(row, &yaml::Node::Plain("null".to_owned())),
        Json::Array(pairs) if is_map(row) => {
            let pairs = pairs
                .iter()
                .filter_map(Json::as_array)
                .map(|pair| texts(pair));
            let pairs = pairs.filter_map(|pair| <[String; 2]>::try_from(pair).ok());
            let pairs = pairs.map(|[name, value]| (name, yaml::Text::Plain(value)));
            yaml::entry(row, &yaml::Node::Map(pairs.collect()))
        }
        Json::Array(items) => yaml::entry(row, &yaml::Node::list(texts(&items))),
        other @ (Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_)) => {
            yaml::entry(row, &yaml::Node::list(texts(&[other])))
        }
    }
}
