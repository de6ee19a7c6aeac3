//! From a command and what is in force to what will be: pure, and all errors before anything moves.

mod apply;
mod difference;
mod drain;
mod endpoints;
mod import;
mod leave;
mod place;
mod ramp;
mod repeat;
mod service;
mod shift;
mod undo;
mod ways;

use std::collections::BTreeMap;

use crate::api::types::{ApiError, Change, Command, Target};
use crate::model::Weight;
use crate::state::{Out, ServiceState, World};
use drain::Wish;

use apply::Reach;
pub use apply::read;
pub use difference::difference;
pub use place::find_backend;
pub use ramp::step_of;
pub use ways::warnings;

/// What a command comes to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What will be in force. Splits that are new have no table yet.
    pub next: World,
    /// Services that change, with their new generation in `next`.
    pub touched: Vec<String>,
    /// Services that go.
    pub deleted: Vec<String>,
    /// What splits are keyed with from then on; none: as before.
    pub secret: Option<[u8; 32]>,
    /// Numbers change: of what comes, or goes at once.
    pub numbers: bool,
    /// Listeners, tracks or backends change, or which backends may take new flows: more than splits.
    pub layout: bool,
    /// What to tell the operator, one for each service concerned.
    pub changes: Vec<Change>,
}

impl Plan {
    /// Whether anything changes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.deleted.is_empty() && !self.numbers
    }
}

/// What `command` comes to at `now` (milliseconds since 1970).
///
/// # Errors
/// Why it is refused; nothing changes then.
pub fn plan(
    world: &World,
    command: &Command,
    expected: Option<u64>,
    now: u64,
) -> Result<Plan, ApiError> {
    check_generation(world, command, expected)?;
    let mut next = world.clone();
    let mut draft = Draft {
        world,
        next: &mut next,
        concerned: Vec::new(),
        warnings: BTreeMap::new(),
    };
    let mut secret = None;
    match command {
        Command::Apply { yaml, origin } => apply::apply(&mut draft, yaml, origin)?,
        Command::ApplyAndPrune { yaml, origin } => {
            apply::apply_and_prune(&mut draft, yaml, origin)?;
        }
        Command::Delete { service, now } => {
            let reach = if *now {
                Reach::AllFlows
            } else {
                Reach::NewFlows
            };
            apply::delete(&mut draft, service, reach)?;
        }
        Command::SetWeight {
            target,
            weights,
            ramp,
        } => shift::set_weight(&mut draft, target, weights, *ramp)?,
        Command::Cutover {
            target,
            to,
            existing,
        } => {
            shift::cutover(&mut draft, target, to)?;
            leave::leave(&mut draft, target, *existing, now)?;
        }
        Command::Undo {
            target,
            to_generation,
            existing,
        } => {
            undo::undo(&mut draft, target, *to_generation, now)?;
            leave::leave(&mut draft, target, *existing, now)?;
        }
        Command::Drain {
            service,
            what,
            timeout,
            on_timeout,
            spread,
        } => {
            let wish = drain::Wish {
                timeout: *timeout,
                on_timeout: *on_timeout,
                spread: *spread,
            };
            drain::take_out(&mut draft, service, what, Out::Draining, wish, now)?;
        }
        Command::Maint { service, what } => {
            drain::take_out(&mut draft, service, what, Out::Maint, Wish::default(), now)?;
        }
        Command::Quarantine {
            service,
            what,
            spread,
        } => {
            let wish = drain::Wish {
                spread: *spread,
                ..Wish::default()
            };
            drain::take_out(&mut draft, service, what, Out::Quarantined, wish, now)?;
        }
        Command::Ready { service, what } => drain::ready(&mut draft, service, what)?,
        Command::Import { text } => secret = Some(import::import(&mut draft, text)?),
    }
    leave::settle(&mut draft, now);
    let Draft {
        concerned,
        mut warnings,
        ..
    } = draft;
    let mut plan = Plan {
        next,
        touched: Vec::new(),
        deleted: Vec::new(),
        secret,
        numbers: false,
        layout: false,
        changes: Vec::new(),
    };
    for name in concerned {
        let before = world.services.get(&name);
        let mut after = plan.next.services.get_mut(&name);
        if let Some(after) = &mut after {
            after.drop_idle_anchor();
        }
        match (before, after) {
            // It brings its generations along.
            (None, Some(_)) if secret.is_some() => plan.touched.push(name.clone()),
            (before, Some(after)) if before != Some(&*after) => {
                after.generation = before.map_or(1, |before| before.generation + 1);
                if let Some(before) = before {
                    after.warm_up(before, now);
                }
                plan.touched.push(name.clone());
            }
            (Some(_), None) => plan.deleted.push(name.clone()),
            _ => {}
        }
        let mut notes = warnings.remove(&name).unwrap_or_default();
        notes.extend(ramp::ended(before, plan.next.services.get(&name)));
        plan.changes
            .push(change(&name, before, plan.next.services.get(&name), notes));
    }
    plan.next
        .number(world, now)
        .map_err(|error| ApiError::refused(error.to_string()))?;
    if let Command::Delete { service, now: true } = command {
        plan.next.cut(service, now);
    }
    plan.numbers =
        plan.next.backend_ids != world.backend_ids || plan.next.listener_ids != world.listener_ids;
    plan.layout = plan.numbers
        || !plan.deleted.is_empty()
        || plan.touched.iter().any(|name| {
            match (world.services.get(name), plan.next.services.get(name)) {
                (Some(before), Some(after)) => !before.serves_like(after),
                _ => true,
            }
        });
    Ok(plan)
}

/// A plan in the making.
struct Draft<'w> {
    world: &'w World,
    next: &'w mut World,
    concerned: Vec<String>,
    warnings: BTreeMap<String, Vec<String>>,
}

impl Draft<'_> {
    /// A service that is to be changed.
    fn service(&mut self, name: &str) -> Result<&mut ServiceState, ApiError> {
        if !self.concerned.iter().any(|concerned| concerned == name) {
            self.concerned.push(name.to_owned());
        }
        let known: Vec<&String> = self.world.services.keys().collect();
        let unknown = unknown_service(name, &known);
        self.next.services.get_mut(name).ok_or(unknown)
    }

    /// The services that a target names.
    fn targets(&self, target: &Target) -> Result<Vec<String>, ApiError> {
        match target {
            Target::Service(name) => Ok(vec![name.clone()]),
            Target::Release(release) => {
                let names: Vec<String> =
                    self.world.of_release(release).map(str::to_owned).collect();
                if names.is_empty() {
                    let mut releases: Vec<&str> = self
                        .world
                        .services
                        .values()
                        .filter_map(|s| s.spec.release.as_deref())
                        .collect();
                    releases.sort_unstable();
                    releases.dedup();
                    return Err(ApiError::not_found(format!(
                        "no service has release `{release}`; {}",
                        known("releases in force", &releases)
                    )));
                }
                Ok(names)
            }
        }
    }

    fn warn(&mut self, service: &str, text: impl Into<String>) {
        self.warnings
            .entry(service.to_owned())
            .or_default()
            .push(text.into());
    }
}

fn known(what: &str, names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return format!("{what}: none");
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    format!("{what}: {}", names.join(", "))
}

/// No such service.
#[must_use]
pub fn unknown_service(name: &str, names: &[impl AsRef<str>]) -> ApiError {
    ApiError::not_found(format!(
        "there is no service `{name}`; {}",
        known("services in force", names)
    ))
}

/// Refuses a command for another generation than the one expected. This comes before all else, even before
/// what is wrong with the command itself.
///
/// # Errors
/// A conflict, with the generation that was found.
pub fn check_generation(
    world: &World,
    command: &Command,
    expected: Option<u64>,
) -> Result<(), ApiError> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let names: Vec<String> = match command {
        Command::Apply { yaml, .. } | Command::ApplyAndPrune { yaml, .. } => {
            crate::resource::names(yaml)
        }
        Command::Import { .. } => Vec::new(),
        Command::Delete { service, .. }
        | Command::Drain { service, .. }
        | Command::Maint { service, .. }
        | Command::Quarantine { service, .. }
        | Command::Ready { service, .. } => {
            vec![service.clone()]
        }
        Command::SetWeight { target, .. }
        | Command::Cutover { target, .. }
        | Command::Undo { target, .. } => match target {
            Target::Service(name) => vec![name.clone()],
            Target::Release(release) => world.of_release(release).map(str::to_owned).collect(),
        },
    };
    // A service that is not there is at generation 0.
    let found = |name: &String| {
        let service = world.services.get(name);
        service.map_or(0, |service| service.generation)
    };
    let Some(first) = names.first().map(found) else {
        return Ok(());
    };
    if names.iter().any(|name| found(name) != first) {
        let mut at: Vec<String> = names
            .iter()
            .map(|name| format!("{name} is at generation {}", found(name)))
            .collect();
        at.sort();
        let message = format!(
            "--expect-generation {expected} is one number, and each service counts its own generations ({}): change them one \
             by one, or leave --expect-generation out",
            at.join(", ")
        );
        return Err(ApiError::conflict(message));
    }
    if first == expected {
        return Ok(());
    }
    let name = &names[0];
    Err(ApiError::conflict(format!(
        "service {name} is at generation {first}, not {expected}: somebody changed it; look at it with \
         `splitterctl get services {name}` and decide anew"
    )))
}

/// What one service's change looks like from outside.
fn change(
    name: &str,
    before: Option<&ServiceState>,
    after: Option<&ServiceState>,
    warnings: Vec<String>,
) -> Change {
    let weights = |service: Option<&ServiceState>| service.map(in_force).unwrap_or_default();
    let here = |service: &ServiceState| {
        let weights = service.weights_of_slots().into_iter();
        weights
            .map(|(name, weight)| (name, weight.to_string()))
            .collect()
    };
    let ramping = before.filter(|service| service.ramp.is_some());
    let moved = match (before, after) {
        (Some(before), Some(after)) => {
            crate::table::split::moved(&before.split.slots, &after.split.slots)
        }
        _ => 0,
    };
    Change {
        service: name.to_owned(),
        generation: after.or(before).map_or(0, |service| service.generation),
        before: ramping.map_or_else(|| weights(before), here),
        after: weights(after),
        flip_nanoseconds: None,
        dry_run: false,
        moved: u32::try_from(moved).unwrap_or(u32::MAX),
        warnings,
    }
}

/// Shares of new flows by track, drains considered, as percent.
fn in_force(service: &ServiceState) -> BTreeMap<String, String> {
    let weights = service.weights();
    if service.drained_tracks.is_empty() {
        return weights
            .into_iter()
            .map(|(name, weight)| (name, weight.to_string()))
            .collect();
    }
    let Ok(shares) = service.shares() else {
        // Every track that has weight is out.
        return weights
            .into_iter()
            .map(|(name, _)| (name, Weight::ZERO.to_string()))
            .collect();
    };
    let whole: u64 = shares.iter().map(|share| share.parts).sum();
    shares
        .iter()
        .map(|share| {
            (
                share.name.to_owned(),
                nearest(share.parts, whole).to_string(),
            )
        })
        .collect()
}

/// `part` of `whole`, to the nearest weight that can be written.
fn nearest(part: u64, whole: u64) -> Weight {
    let (part, whole) = (u128::from(part), u128::from(whole.max(1)));
    let millis = (part * 100_000 + whole / 2) / whole;
    u32::try_from(millis)
        .ok()
        .and_then(|millis| Weight::from_millis(millis).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
