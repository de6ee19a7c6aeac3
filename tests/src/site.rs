//! The usual scene: hosts, web servers and an agent with one service.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::agent::{Agent, Configuration};
use crate::hosts::{Hosts, VIP_V4, VIP_V6};
use crate::load::Load;
use crate::nginx::Nginx;
use crate::service::Service;

/// Hosts with web servers and a running agent. Fields are dropped in this order.
#[derive(Debug)]
pub struct Site {
    /// The agent, on the balancer.
    pub agent: Agent,
    /// The web servers, on the backends.
    pub nginx: Nginx,
    /// The hosts.
    pub hosts: Hosts,
}

impl Site {
    /// `web` on both VIPs, split over `tracks`, through native XDP.
    pub fn web(tracks: &[(&str, &str)]) -> Result<Self> {
        Self::serving(&Service::web(tracks).with(BRIEF))
    }

    /// A site with `service` applied.
    pub fn serving(service: &Service) -> Result<Self> {
        Self::configured(&Configuration::new(), service)
    }

    /// A site whose agent has its own configuration.
    pub fn configured(configuration: &Configuration, service: &Service) -> Result<Self> {
        Self::on(Hosts::new()?, configuration, service)
    }

    /// A site on hosts of another topology.
    pub fn on(hosts: Hosts, configuration: &Configuration, service: &Service) -> Result<Self> {
        let nginx = Nginx::start(&hosts)?;
        let configuration = configuration.clone().interfaces(hosts.interfaces);
        let agent = Agent::start_with(&hosts, &configuration)?;
        agent.apply(service)?;
        Ok(Self {
            agent,
            nginx,
            hosts,
        })
    }

    /// A load on both VIPs, to be told how many connections of which kind.
    pub fn load(&self) -> Load {
        Load::at(VIP_V4).and_at(VIP_V6)
    }

    /// The split in force: generation and digest.
    pub fn split(&self) -> Result<(Value, Value)> {
        let mut service = self.agent.service("web")?;
        Ok((service["generation"].take(), service["digest"].take()))
    }
}

/// Pins of closed connections go soon, so that drains needn't be waited for.
pub const BRIEF: &str = "flows: {closing: 1s, unconfirmed: 5s}";

/// A deadline for what happens within a second or two on an idle machine.
pub const SOON: Duration = Duration::from_secs(30);
