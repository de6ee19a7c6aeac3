//! Bad input gives a clear error and its exit code, and changes nothing.

mod hosts;
mod resources;
mod starts;
mod verbs;

use anyhow::Result;
use lab::Site;
use serde_json::Value;

/// A site with the service that bad input tries to harm.
fn site() -> Result<Site> {
    Site::web(&[("blue", "90%"), ("green", "10%")])
}

/// Everything that an operator can ask for, without what changes by itself.
fn desired(site: &Site) -> Result<Value> {
    let mut services = site.agent.json("get services")?;
    forget_what_moves(&mut services);
    Ok(services)
}

fn forget_what_moves(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["observed", "flows", "conditions"].contains(&name.as_str()));
            fields.values_mut().for_each(forget_what_moves);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_what_moves),
        _ => {}
    }
}

/// Runs `attempt`, and fails unless the services are afterwards what they were.
fn nothing_changes<T>(site: &Site, attempt: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = desired(site)?;
    let said = attempt()?;
    assert_eq!(desired(site)?, before, "refused input changed something");
    Ok(said)
}
