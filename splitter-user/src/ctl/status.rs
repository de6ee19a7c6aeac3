use std::time::Duration;

use tokio::time::Instant;

use super::describe::describe_conditions;
use super::format::{self, Detail, Paint, View};
use super::watch::{Next, watch};
use super::{DONE, Failure, Outcome, PERSON_NEEDED, Session, TIMED_OUT};
use crate::api::client::Client;
use crate::api::types::{ApiError, Condition, ConditionStatus, Phase, StatusView, XdpMode};

/// How often a waiting `status` looks.
const LOOK: Duration = Duration::from_millis(200);

/// Say how the agent and its services stand
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl status
  splitterctl status web --timeout 60s && echo settled

Exit code 0 when healthy, 5 when a condition keeps traffic from flowing as it should. With --timeout it waits until nothing is
under way any more (no drain, no deletion, no pending change) and all is healthy: exit code 4 when the time runs out before.")]
pub struct Args {
    /// Only this service.
    service: Option<String>,
    /// Again every second, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// Wait at most so long until settled: 30s, 5m.
    #[arg(long, value_name = "D", value_parser = format::duration)]
    timeout: Option<Duration>,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let Args {
        service,
        watch: again,
        timeout,
    } = args;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    if again {
        let next = |status: &StatusView| match deadline {
            Some(_) if is_settled(status) => Next::End(DONE),
            Some(deadline) if Instant::now() >= deadline => Next::End(TIMED_OUT),
            Some(_) => Next::Wait,
            None => Next::Again,
        };
        return watch(
            &mut session,
            deadline,
            |client| ask(client, service.clone()),
            next,
        )
        .await;
    }
    loop {
        let status = ask(session.client.clone(), service.clone()).await?;
        let code = match deadline {
            None if is_healthy(&status) => DONE,
            None => PERSON_NEEDED,
            Some(_) if is_settled(&status) => DONE,
            Some(deadline) if Instant::now() >= deadline => TIMED_OUT,
            Some(deadline) => {
                tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)).await;
                continue;
            }
        };
        session.show(&status)?;
        if code == TIMED_OUT {
            session.around.error("not settled in time");
        }
        return Ok(code);
    }
}

async fn ask(client: Client, service: Option<String>) -> Result<StatusView, Failure> {
    let mut status = client.status().await?;
    if let Some(name) = service {
        status.services.retain(|service| service.name == name);
        if status.services.is_empty() {
            return Err(ApiError::not_found(format!(
                "there is no service {name:?}; see `splitterctl get services`"
            ))
            .into());
        }
    }
    Ok(status)
}

/// No condition that keeps traffic from flowing as it should.
fn is_healthy(status: &StatusView) -> bool {
    let hurts = |condition: &Condition| {
        condition.status == ConditionStatus::True && condition.kind.impairs_traffic()
    };
    let of_services = status
        .services
        .iter()
        .flat_map(|service| &service.conditions);
    !status.conditions.iter().chain(of_services).any(hurts)
}

/// Healthy, and nothing under way.
fn is_settled(status: &StatusView) -> bool {
    is_healthy(status)
        && status
            .services
            .iter()
            .all(|service| service.phase == Phase::Steady)
}

impl View for StatusView {
    fn text(&self, _: Detail, paint: Paint) -> String {
        let agent = &self.agent;
        let table = &self.flow_table;
        let mut text = format!(
            "agent {} {} (pid {}), up {}\nflow table {} of {}; flips {}; limits: {} services, {} backends, {} flows\n",
            agent.name,
            agent.version,
            agent.pid,
            format::seconds(agent.uptime_seconds),
            table.entries,
            table.capacity,
            self.selector_sequence,
            self.limits.services,
            self.limits.backends,
            self.limits.flows
        );
        for interface in &self.interfaces {
            let mode = match interface.xdp_mode {
                Some(XdpMode::Native) => "native".to_owned(),
                Some(XdpMode::Generic) => paint.notable("generic"),
                None => paint.bad("not attached"),
            };
            text += &format!("interface {}: {mode}\n", interface.name);
        }
        text += &describe_conditions(&self.conditions, "", paint);
        for service in &self.services {
            let phase = match service.phase {
                Phase::Steady => "steady".to_owned(),
                Phase::Draining => paint.notable("draining"),
                Phase::Deleting => paint.notable("deleting"),
                Phase::Pending => paint.notable("pending"),
            };
            text += &format!(
                "service {}: {phase}, generation {}, mode {}, {} flows\n",
                service.name, service.generation, service.mode, service.flows
            );
            text += &describe_conditions(&service.conditions, "  ", paint);
        }
        text
    }
}
