//! Metrics in Prometheus' text format, made anew from the writer's figures at each scrape.

mod scrapes;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use splitter_ebpf::abi::SLOTS;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::writer::{Figures, Handle, Request};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    service: String,
    track: String,
    version: String,
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrackLabels {
    service: String,
    track: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosedLabels {
    by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProdLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    r#type: String,
}

/// The text for these figures.
///
/// # Errors
/// If formatting fails, which memory alone can cause.
pub fn render(figures: &Figures) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("splitter");
    let new_flows = Family::<BackendLabels, Counter>::default();
    let flows = Family::<BackendLabels, Gauge>::default();
    for backend in &figures.backends {
        let key = &backend.key;
        let labels = BackendLabels {
            service: key.service.clone(),
            track: key.track.clone(),
            version: backend.version.clone().unwrap_or_default(),
            backend: key.port.map_or_else(
                || key.address.to_string(),
                |port| SocketAddr::new(key.address, port).to_string(),
            ),
        };
        new_flows.get_or_create(&labels).inc_by(backend.new_flows);
        flows.get_or_create(&labels).inc_by(signed(backend.flows));
    }
    registry.register("new_flows", "Flows that were pinned", new_flows);
    registry.register("flows", "Flows that are pinned now", flows);

    let ratio = Family::<TrackLabels, Gauge<f64, AtomicU64>>::default();
    for track in &figures.tracks {
        let labels = TrackLabels {
            service: track.service.clone(),
            track: track.track.clone(),
            version: track.version.clone().unwrap_or_default(),
        };
        let slots = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        ratio
            .get_or_create(&labels)
            .set(f64::from(track.slots) / f64::from(slots));
    }
    registry.register(
        "weight_ratio",
        "Applied share of new flows: slots of 65,536",
        ratio,
    );

    let generation = Family::<ServiceLabels, Gauge>::default();
    for (service, number) in &figures.generations {
        generation
            .get_or_create(&ServiceLabels {
                service: service.clone(),
            })
            .set(signed(*number));
    }
    registry.register(
        "generation",
        "Number of the last operator's change",
        generation,
    );

    let verdicts = Family::<VerdictLabels, Counter>::default();
    for (reason, packets) in &figures.verdicts {
        let labels = VerdictLabels {
            verdict: reason.action().name(),
            reason: reason.name(),
        };
        verdicts.get_or_create(&labels).inc_by(*packets);
    }
    registry.register("verdicts", "Packets by verdict and reason", verdicts);

    let closed = Family::<ClosedLabels, Counter>::default();
    for (by, flows) in [
        ("reset", figures.closes.reset),
        ("resteer", figures.closes.resteered),
    ] {
        closed.get_or_create(&ClosedLabels { by }).inc_by(flows);
    }
    registry.register(
        "flows_closed",
        "Flows that drains, quarantine, removals and changes with --existing reset have closed",
        closed,
    );
    let prods = Family::<ProdLabels, Counter>::default();
    for (outcome, packets) in [
        ("sent", figures.closes.prods),
        ("failed", figures.closes.prods_failed),
    ] {
        let labels = ProdLabels { outcome };
        prods.get_or_create(&labels).inc_by(packets);
    }
    registry.register(
        "prods",
        "Segments to idle ends of flows that are reset, which make them speak",
        prods,
    );

    let entries = Gauge::<i64>::default();
    entries.set(signed(figures.flow_table.entries));
    registry.register(
        "flow_table_entries",
        "Places of the flow table in use: one a flow, two in mode fullnat",
        entries,
    );
    let capacity = Gauge::<i64>::default();
    capacity.set(signed(figures.flow_table.capacity));
    registry.register("flow_table_capacity", "Places in the flow table", capacity);

    let conditions = Family::<ConditionLabels, Gauge>::default();
    for condition in &figures.conditions {
        conditions
            .get_or_create(&ConditionLabels {
                r#type: format!("{condition:?}"),
            })
            .set(1);
    }
    registry.register("condition", "1 for each condition that holds", conditions);

    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Serves `/metrics` until `stop`, and then for a few seconds at most.
///
/// # Errors
/// What the socket says.
pub async fn serve(
    listener: TcpListener,
    writer: Handle,
    stop: CancellationToken,
) -> std::io::Result<()> {
    scrapes::serve(listener, stop, move || {
        let writer = writer.clone();
        async move {
            match writer.ask(Request::Figures).await {
                Ok(figures) => render(&figures).map_err(|error| error.to_string()),
                Err(error) => Err(error.message),
            }
        }
    })
    .await
}
