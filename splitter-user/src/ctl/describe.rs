use super::delete::Kind;
use super::format::{self, Detail, Paint, View, or_dash, percent, percent_of_slots};
use super::get::{address, observed};
use super::{DONE, Outcome, Session};
use crate::api::types::{
    AffinityView, AnchorView, Condition, ConditionStatus, LifeState, RouteView, ServiceDocument,
    ServiceView, TrackView,
};

/// Say everything about one resource
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  splitterctl describe service web")]
pub struct Args {
    /// What kind of resource.
    kind: Kind,
    /// Its name.
    name: String,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let document = match args.kind {
        Kind::Service => session.client.service(&args.name).await?,
    };
    session.show(&document)?;
    Ok(DONE)
}

impl View for ServiceDocument {
    fn text(&self, _: Detail, paint: Paint) -> String {
        describe(&self.service, paint)
    }
}

fn describe(service: &ServiceView, paint: Paint) -> String {
    let labels: Vec<String> = service
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let listeners: Vec<String> = service.listeners.iter().map(format::listener).collect();
    let undo = service
        .undo_generation
        .map_or_else(|| "none".to_owned(), |generation| generation.to_string());
    let ramp = service.ramp.as_ref();
    let fields = [
        ("Service", service.name.clone()),
        ("State", service.state.as_str().to_owned()),
        (
            "Labels",
            if labels.is_empty() {
                "-".to_owned()
            } else {
                labels.join(", ")
            },
        ),
        (
            "Generation",
            format!("{} (undo goes to {undo})", service.generation),
        ),
        ("Release", or_dash(service.release.as_deref()).to_owned()),
        ("Mode", service.mode.clone()),
        ("No backend", service.no_backend.clone()),
        ("Affinity", affinity_text(&service.affinity)),
        ("Digest", service.digest.clone()),
        ("Listeners", listeners.join(", ")),
        (
            "Ramp",
            ramp.map_or_else(|| "-".to_owned(), super::set_weight::progress),
        ),
        ("Preview", preview_text(service)),
        ("Fallback", or_dash(service.fallback.as_deref()).to_owned()),
        (
            "Unpinned",
            format!("{} new flows could not be pinned", service.unpinned),
        ),
    ];
    let mut text: String = fields
        .iter()
        .map(|(name, value)| format!("{:<12}{value}\n", format!("{name}:")))
        .collect();
    for anchor in &service.anchors {
        text += &describe_anchor(anchor);
    }
    text += &describe_routes(&service.routes);
    for track in &service.tracks {
        text += &describe_track(track, paint);
    }
    text += &describe_conditions(&service.conditions, "", paint);
    text
}

/// ```text
/// Anchor:     generation 39-41: blue 95%, green 5%
/// ```
fn describe_anchor(anchor: &AnchorView) -> String {
    let generations = format::generations(anchor.since, anchor.generation);
    let weights = anchor.weights.iter();
    let weights: Vec<String> = weights
        .map(|(track, weight)| format!("{track} {}", percent(weight)))
        .collect();
    format!(
        "{:<12}generation {generations}: {}\n",
        "Anchor:",
        weights.join(", ")
    )
}

fn affinity_text(affinity: &AffinityView) -> String {
    let AffinityView {
        key,
        backend,
        prefix,
        salt,
    } = affinity;
    if key == "flow" {
        return format!("{key}, salt {salt}");
    }
    let (v4, v6) = (prefix.v4, prefix.v6);
    format!("{key} (/{v4}, /{v6}), backend {backend}, salt {salt}")
}

fn preview_text(service: &ServiceView) -> String {
    let preview = service.preview.as_ref();
    preview.map_or_else(
        || "-".to_owned(),
        |preview| {
            format!(
                "{} -> {}",
                format::listener(&preview.listener),
                preview.track
            )
        },
    )
}

/// Routes in their order, the first that matches wins.
fn describe_routes(routes: &[RouteView]) -> String {
    let mut text = String::new();
    for (index, route) in routes.iter().enumerate() {
        let source: Vec<String> = route.source.iter().map(ToString::to_string).collect();
        let reason = route.reason.as_ref();
        text += &format!(
            "Route {}:    {} -> {}{}\n",
            index + 1,
            source.join(", "),
            route.track,
            reason.map_or_else(String::new, |reason| format!(" ({reason})"))
        );
    }
    text
}

fn describe_track(track: &TrackView, paint: Paint) -> String {
    let mut text = format!(
        "\nTrack {} (version {}){}: desired {}, applied {} ({} slots), observed {} ({} new flows in 60 s), {} flows\n",
        track.name,
        or_dash(track.version.as_deref()),
        stands_out(track.state, paint),
        percent(&track.weight),
        percent_of_slots(track.slots),
        track.slots,
        observed(track),
        track.observed.new_flows,
        track.flows
    );
    for backend in &track.backends {
        text += &format!(
            "  {}  mode {}, weight {}, health {}, {} flows{}\n",
            address(backend),
            backend.mode,
            backend.weight,
            backend.health.as_str(),
            backend.flows,
            stands_out(backend.state, paint)
        );
    }
    text
}

fn stands_out(state: LifeState, paint: Paint) -> String {
    match state {
        LifeState::Ready => String::new(),
        LifeState::Draining
        | LifeState::Maint
        | LifeState::Quarantined
        | LifeState::Deleting
        | LifeState::Down => format!(", {}", paint.notable(state.as_str())),
    }
}

/// The conditions that hold, a line each.
pub fn describe_conditions(conditions: &[Condition], indent: &str, paint: Paint) -> String {
    conditions
        .iter()
        .filter(|condition| condition.status != ConditionStatus::False)
        .map(|condition| {
            let since = humantime::format_rfc3339_seconds(condition.since);
            let unknown = if condition.status == ConditionStatus::Unknown {
                " (unknown)"
            } else {
                ""
            };
            format!(
                "{indent}{}{unknown}: {} (since {since})\n",
                paint.notable(&format!("{:?}", condition.kind)),
                condition.message
            )
        })
        .collect()
}
