//! What the environment says. A variable that is set but empty says nothing: start scripts and container
//! platforms set such ones, and nobody means "no workers" by them.

use std::borrow::Cow;

use super::error::Error;
use super::origin::Origin;
use super::rows::{Layer, TABLE};

/// How a variable is looked up.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The value of a variable that says something.
pub(super) fn said(environment: &Environment<'_>, variable: &str) -> Option<String> {
    environment(variable).filter(|text| !text.trim().is_empty())
}

/// The variables that change one default each.
pub(super) fn layers(
    environment: &Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Layer, Origin)>, Error> {
    let mut layers = Vec::new();
    for row in TABLE {
        let Some(variable) = row.variable else {
            continue;
        };
        let Some(text) = said(environment, variable) else {
            continue;
        };
        let mut layer = Layer::default();
        match row.read(&mut layer, &[&spelled(variable, text.trim())]) {
            Ok(note) => warnings.extend(note.map(|note| format!("{variable}: {note}"))),
            Err(mut refused) => {
                // The operator wrote the port alone, and is to find what was written.
                text.trim().clone_into(&mut refused.value);
                return Err(Error::Value {
                    at: variable.to_owned(),
                    refused,
                });
            }
        }
        layers.push((layer, Origin::Environment(variable)));
    }
    Ok(layers)
}

/// A variable's text in the setting's own spelling.
fn spelled<'a>(variable: &str, text: &'a str) -> Cow<'a, str> {
    match variable {
        "PORT" => format!("0.0.0.0:{text}").into(),
        "SENDFILE" => {
            let yes = ["y", "1", "yes", "true"].contains(&text.to_ascii_lowercase().as_str());
            if yes { "true" } else { "false" }.into()
        }
        _ => text.into(),
    }
}
