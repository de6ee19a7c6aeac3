//! The agent's life under faults: killed at every step, robbed of privileges, fed with rubbish, upgraded,
//! and driven at random. Traffic and promises do not care.

mod attach;
mod flips;
mod host;
mod hostile;
mod kills;
mod privileges;
mod random;
mod steps;

use anyhow::Result;
use lab::Agent;
use serde_json::Value;

/// What is in force of `web`: generation, and beside it the digest with each track's weight, slots and whether it
/// and each of its backends are ready. How far a drain is changes by itself.
fn in_force(agent: &Agent) -> Result<(u64, String)> {
    let service = agent.service("web")?;
    let ready = |one: &Value| one["state"] == "ready";
    let tracks: Vec<_> = service["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| {
            let words = ["name", "weight", "slots"].map(|key| track[key].to_string());
            let backends = track["backends"].as_array().unwrap().iter();
            let backends: Vec<String> = backends
                .filter(|backend| backend["state"] != "deleting")
                .map(|backend| format!("{} {}", backend["address"], ready(backend)))
                .collect();
            format!("{words:?} {} {backends:?}", ready(track))
        })
        .collect();
    let generation = service["generation"].as_u64().unwrap();
    Ok((generation, format!("{} {tracks:?}", service["digest"])))
}
