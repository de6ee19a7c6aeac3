use clap::ValueEnum;
use comfy_table::Cell;
use serde::Serialize;

use super::format::{self, Detail, Paint, View, lines_of, or_dash, percent, percent_of_slots};
use super::watch::{Next, watch};
use super::{DONE, Failure, Outcome, Session};
use crate::api::client::Client;
use crate::api::types::{
    API_VERSION, BackendView, ServiceDocument, ServiceList, ServiceView, TrackView,
};

/// List services, tracks or backends: desired, applied and observed shares
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl get services
  splitterctl get tracks web -w
  splitterctl get services web -o json

DESIRED is the weight asked for, APPLIED the share of slots in the table, OBSERVED the share of the new flows of the last 60 s.")]
pub struct Args {
    /// What to list.
    #[arg(value_name = "services|tracks|backends")]
    what: What,
    /// Only this service's.
    name: Option<String>,
    /// Again every second, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    // A row for each service.
    #[value(alias = "service")]
    Services,
    // A row for each track.
    #[value(alias = "track")]
    Tracks,
    // A row for each backend.
    #[value(alias = "backend")]
    Backends,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let Args {
        what,
        name,
        watch: again,
    } = args;
    if again {
        return watch(
            &mut session,
            None,
            |client| get(client, what, name.clone()),
            |_| Next::Again,
        )
        .await;
    }
    let got = get(session.client.clone(), what, name).await?;
    session.show(&got)?;
    Ok(DONE)
}

async fn get(client: Client, what: What, name: Option<String>) -> Result<Got, Failure> {
    let services = match name {
        Some(name) => {
            let document = client.service(&name).await?;
            if what == What::Services {
                return Ok(Got::Service(Box::new(document)));
            }
            vec![document.service]
        }
        None => client.services().await?.items,
    };
    Ok(match what {
        What::Services => Got::Services(services.into()),
        What::Tracks => Got::Tracks(TrackList::of(services)),
        What::Backends => Got::Backends(BackendList::of(services)),
    })
}

/// What was asked for.
#[derive(Serialize)]
#[serde(untagged)]
enum Got {
    Service(Box<ServiceDocument>),
    Services(ServiceList),
    Tracks(TrackList),
    Backends(BackendList),
}

impl View for Got {
    fn text(&self, detail: Detail, paint: Paint) -> String {
        match self {
            Self::Service(document) => {
                services_table(std::slice::from_ref(&document.service), detail, paint)
            }
            Self::Services(list) => services_table(&list.items, detail, paint),
            Self::Tracks(list) => list.table(detail, paint),
            Self::Backends(list) => list.table(detail, paint),
        }
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        match self {
            Self::Service(document) => lines_of(std::slice::from_ref(document)),
            Self::Services(list) => lines_of(&list.items),
            Self::Tracks(list) => lines_of(&list.items),
            Self::Backends(list) => lines_of(&list.items),
        }
    }
}

/// Tracks of all services, each with its service's name.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
struct TrackList {
    api_version: &'static str,
    items: Vec<TrackItem>,
}

#[derive(Serialize)]
struct TrackItem {
    service: String,
    #[serde(flatten)]
    track: TrackView,
}

impl TrackList {
    fn of(services: Vec<ServiceView>) -> Self {
        let items = services
            .into_iter()
            .flat_map(|ServiceView { name, tracks, .. }| {
                tracks.into_iter().map(move |track| TrackItem {
                    service: name.clone(),
                    track,
                })
            })
            .collect();
        Self {
            api_version: API_VERSION,
            items,
        }
    }

    fn table(&self, detail: Detail, paint: Paint) -> String {
        let mut header = vec![
            "SERVICE", "TRACK", "VERSION", "STATE", "DESIRED", "APPLIED", "OBSERVED", "NEW/60s",
            "FLOWS", "BACKENDS",
        ];
        if detail == Detail::Wide {
            header.push("SLOTS");
        }
        let mut table = paint.table(&header);
        for TrackItem { service, track } in &self.items {
            let mut row = vec![
                Cell::new(service),
                Cell::new(&track.name),
                Cell::new(or_dash(track.version.as_deref())),
                paint.state(track.state.as_str()),
                Cell::new(percent(&track.weight)),
                Cell::new(percent_of_slots(track.slots)),
                Cell::new(observed(track)),
                Cell::new(track.observed.new_flows),
                Cell::new(track.flows),
                Cell::new(track.backends.len()),
            ];
            if detail == Detail::Wide {
                row.push(Cell::new(track.slots));
            }
            table.add_row(row);
        }
        format::finish(&table)
    }
}

/// Backends of all services, each with the names of its service and track.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
struct BackendList {
    api_version: &'static str,
    items: Vec<BackendItem>,
}

#[derive(Serialize)]
struct BackendItem {
    service: String,
    track: String,
    #[serde(flatten)]
    backend: BackendView,
}

impl BackendList {
    fn of(services: Vec<ServiceView>) -> Self {
        let mut items = Vec::new();
        for service in services {
            for track in service.tracks {
                items.extend(track.backends.into_iter().map(|backend| BackendItem {
                    service: service.name.clone(),
                    track: track.name.clone(),
                    backend,
                }));
            }
        }
        Self {
            api_version: API_VERSION,
            items,
        }
    }

    fn table(&self, detail: Detail, paint: Paint) -> String {
        let mut header = vec![
            "SERVICE", "TRACK", "BACKEND", "MODE", "WEIGHT", "STATE", "HEALTH", "FLOWS",
        ];
        if detail == Detail::Wide {
            header.push("SLOW START");
        }
        let mut table = paint.table(&header);
        for BackendItem {
            service,
            track,
            backend,
        } in &self.items
        {
            let mut row = vec![
                Cell::new(service),
                Cell::new(track),
                Cell::new(address(backend)),
                Cell::new(&backend.mode),
                Cell::new(backend.weight),
                paint.state(backend.state.as_str()),
                Cell::new(backend.health.as_str()),
                Cell::new(backend.flows),
            ];
            if detail == Detail::Wide {
                row.push(Cell::new(slow_start(backend)));
            }
            table.add_row(row);
        }
        format::finish(&table)
    }
}

/// `40% of its weight, 36s left`, or a dash when it has all of it.
fn slow_start(backend: &BackendView) -> String {
    backend.slow_start.as_ref().map_or_else(
        || "-".to_owned(),
        |slow_start| {
            let share = percent(&slow_start.share);
            let left = format::seconds(slow_start.remaining_seconds);
            format!("{share} of its weight, {left} left")
        },
    )
}

/// `198.18.2.21:80`, or the bare address where each listener's own port is used.
pub fn address(backend: &BackendView) -> String {
    match backend.port {
        Some(port) => std::net::SocketAddr::new(backend.address, port).to_string(),
        None => backend.address.to_string(),
    }
}

/// The observed share, or a dash at none.
pub fn observed(track: &TrackView) -> String {
    track
        .observed
        .share
        .as_deref()
        .map_or_else(|| "-".to_owned(), percent)
}

/// A row for each service, with a line for each track.
pub fn services_table(services: &[ServiceView], detail: Detail, paint: Paint) -> String {
    let mut header = vec![
        "SERVICE",
        "STATE",
        "GENERATION",
        "LISTENERS",
        "TRACK",
        "DESIRED",
        "APPLIED",
        "OBSERVED",
        "FLOWS",
    ];
    if detail == Detail::Wide {
        header.extend(["RELEASE", "MODE", "AFFINITY", "UNDO", "UNPINNED", "DIGEST"]);
    }
    let mut table = paint.table(&header);
    for service in services {
        let column = |cell: &dyn Fn(&TrackView) -> String| {
            Cell::new(
                service
                    .tracks
                    .iter()
                    .map(cell)
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
        };
        let mut row = vec![
            Cell::new(&service.name),
            paint.state(service.state.as_str()),
            Cell::new(service.generation),
            Cell::new(
                service
                    .listeners
                    .iter()
                    .map(format::listener)
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
            column(&|track| track.name.clone()),
            column(&|track| percent(&track.weight)),
            column(&|track| percent_of_slots(track.slots)),
            column(&observed),
            column(&|track| track.flows.to_string()),
        ];
        if detail == Detail::Wide {
            row.extend([
                Cell::new(or_dash(service.release.as_deref())),
                Cell::new(&service.mode),
                Cell::new(&service.affinity.key),
                Cell::new(or_dash(
                    Some(anchors(service).as_str()).filter(|text| !text.is_empty()),
                )),
                Cell::new(service.unpinned),
                Cell::new(&service.digest),
            ]);
        }
        table.add_row(row);
    }
    format::finish(&table)
}

/// The generations that undo can go back to, newest first.
fn anchors(service: &ServiceView) -> String {
    let anchors = service.anchors.iter();
    let ranges: Vec<String> = anchors
        .map(|anchor| format::generations(anchor.since, anchor.generation))
        .collect();
    ranges.join(",")
}
