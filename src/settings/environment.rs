//! Settings from environment variables. An empty variable counts as unset, because start scripts
//! and container platforms set empty ones.

use std::borrow::Cow;

use super::error::Error;
use super::origin::Origin;
use super::rows::{Layer, TABLE};
use super::table::{Variable, VariableForm};

/// How a variable is looked up by its name.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The variables of this process. Those that are not valid UTF-8 count as unset.
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable of this process that is set and not empty.
#[must_use]
pub fn non_empty_variable(name: &str) -> Option<String> {
    non_empty(&process_environment, name)
}

/// The value of a variable that is set and not empty.
pub(super) fn non_empty(environment: &Environment<'_>, variable: &str) -> Option<String> {
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
        let Some(text) = non_empty(environment, variable.name) else {
            continue;
        };
        let mut layer = Layer::default();
        match row.read(&mut layer, &[&spelled(variable, text.trim())]) {
            Ok(remark) => {
                warnings.extend(remark.map(|remark| format!("{}: {remark}", variable.name)));
            }
            Err(mut refused) => {
                // The error shows what the variable contains: a port, not an address.
                text.trim().clone_into(&mut refused.value);
                return Err(Error::Value {
                    at: variable.name.to_owned(),
                    refused,
                });
            }
        }
        layers.push((layer, Origin::Environment(variable.name)));
    }
    Ok(layers)
}

/// The text of a variable as a value of the setting.
fn spelled(variable: Variable, text: &str) -> Cow<'_, str> {
    match variable.form {
        VariableForm::Port => format!("0.0.0.0:{text}").into(),
        VariableForm::YesOrNo => {
            let yes = ["y", "1", "yes", "true"].contains(&text.to_ascii_lowercase().as_str());
            if yes { "true" } else { "false" }.into()
        }
        VariableForm::Value => text.into(),
    }
}
