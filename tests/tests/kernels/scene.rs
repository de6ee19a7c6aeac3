//! Hosts with IPVS or ours between the same clients and backends, in a way of forwarding that both have.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use lab::{Agent, BACKENDS, Hosts, VIP_V4, VIP_V6};

use super::ends::{Connection, datagram, serve};

/// The port that clients dial.
const DIALLED: u16 = 80;

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Their destination is translated; replies come back through the balancer. Two backends, on another port.
    Translated,
    /// The frame is sent on to the backend, which has the VIP.
    Direct,
    /// The packet is sent on in another, which a tunnel device of the backend's kernel takes out. It has the VIP.
    Tunneled,
}

impl Way {
    const fn mode(self) -> &'static str {
        match self {
            Self::Translated => "dnat",
            Self::Direct => "dsr-l2",
            Self::Tunneled => "ipip",
        }
    }

    /// As ipvsadm(8) names it.
    const fn flag(self) -> &'static str {
        match self {
            Self::Translated => "-m",
            Self::Direct => "-g",
            Self::Tunneled => "-i",
        }
    }

    /// The backends of a VIP's family. Those that have the VIP are one host, which can't tell them apart.
    pub fn backends(self, vip: IpAddr) -> Vec<SocketAddr> {
        let (count, port) = match self {
            Self::Translated => (2, 8080),
            Self::Direct | Self::Tunneled => (1, DIALLED),
        };
        let address = |number: usize| match vip {
            IpAddr::V4(_) => IpAddr::from(BACKENDS[number].v4),
            IpAddr::V6(_) => IpAddr::from(BACKENDS[number].v6),
        };
        (0..count)
            .map(|number| SocketAddr::new(address(number), port))
            .collect()
    }

    /// Where a backend's server listens.
    pub fn served(self, vip: IpAddr) -> Vec<SocketAddr> {
        match self {
            Self::Translated => self.backends(vip),
            Self::Direct | Self::Tunneled => vec![listener(vip)],
        }
    }
}

/// Whoever spreads the flows. Its set-up ends with the hosts.
enum Balancer {
    Ipvs,
    Splitter(Box<Agent>),
}

/// Hosts whose backends serve both VIPs over TCP and UDP.
pub struct Scene {
    balancer: Balancer,
    way: Way,
    /// The hosts.
    pub hosts: Hosts,
}

impl Scene {
    /// The kernel's own balancer.
    pub fn with_ipvs(way: Way) -> Result<Self> {
        let hosts = hosts(way)?;
        for vip in [VIP_V4, VIP_V6] {
            let (at, flag) = (listener(vip), way.flag());
            for protocol in ["-t", "-u"] {
                hosts
                    .balancer
                    .exec(&format!("ipvsadm -A {protocol} {at} -s rr"))?;
                for backend in way.backends(vip) {
                    let add = format!("ipvsadm -a {protocol} {at} -r {backend} {flag}");
                    hosts.balancer.exec(&add)?;
                }
            }
        }
        Ok(Self {
            balancer: Balancer::Ipvs,
            way,
            hosts,
        })
    }

    /// Ours.
    pub fn with_splitter(way: Way) -> Result<Self> {
        let hosts = hosts(way)?;
        let agent = Agent::start(&hosts)?;
        agent.apply_yaml(&service(way))?.succeeded()?;
        Ok(Self {
            balancer: Balancer::Splitter(Box::new(agent)),
            way,
            hosts,
        })
    }

    /// Takes a backend out of what new connections get.
    pub fn drain(&self, vip: IpAddr, backend: SocketAddr) -> Result<()> {
        match &self.balancer {
            Balancer::Ipvs => {
                let (at, flag) = (listener(vip), self.way.flag());
                let edit = format!("ipvsadm -e -t {at} -r {backend} {flag} -w 0");
                self.hosts.balancer.exec(&edit)?;
            }
            Balancer::Splitter(agent) => {
                agent.ctl(&format!("drain web {backend}"))?.succeeded()?;
            }
        }
        Ok(())
    }

    /// A connection from a port of the client's to a VIP.
    pub fn connect(&self, vip: IpAddr, port: u16) -> Result<Connection> {
        Connection::open(&self.hosts.client, client(vip, port), listener(vip))
    }

    /// What both ends of a datagram from a port of the client's to a VIP see.
    pub fn datagram(&self, vip: IpAddr, port: u16) -> Result<String> {
        datagram(&self.hosts.client, client(vip, port), listener(vip))
    }
}

/// What clients dial.
pub fn listener(vip: IpAddr) -> SocketAddr {
    SocketAddr::new(vip, DIALLED)
}

/// A client of a VIP's family.
pub fn client(vip: IpAddr, port: u16) -> SocketAddr {
    let text = if vip.is_ipv4() {
        "198.18.1.10"
    } else {
        "2001:db8:1::10"
    };
    SocketAddr::new(text.parse().expect("an address"), port)
}

/// Hosts whose backends' servers run, with the devices that the way asks for.
fn hosts(way: Way) -> Result<Hosts> {
    let hosts = Hosts::new()?;
    if way != Way::Translated {
        hosts.backends.ip(&format!(
            "addr add {VIP_V4}/32 dev lo\naddr add {VIP_V6}/128 dev lo nodad\n"
        ))?;
        // Replies come from the VIP, which the host that hands them on has, too.
        hosts.balancer.sysctl("ipv4/conf/all/accept_local", "1")?;
    }
    if way == Way::Tunneled {
        // Whoever the outer source is: it is a part of the flow's hash.
        hosts.backends.ip(&format!(
            "link add tunnel4 type ipip local {} remote any\n\
             link add tunnel6 type ip6tnl mode ip6ip6 local {} remote any\n\
             link set tunnel4 up\n\
             link set tunnel6 up\n",
            BACKENDS[0].v4, BACKENDS[0].v6
        ))?;
    }
    for at in [VIP_V4, VIP_V6].into_iter().flat_map(|vip| way.served(vip)) {
        serve(&hosts.backends, at)?;
    }
    Ok(hosts)
}

fn service(way: Way) -> String {
    let vips = [VIP_V4, VIP_V6];
    let listeners = vips.iter().flat_map(|vip| {
        ["tcp", "udp"]
            .map(|protocol| format!("{{vip: \"{vip}\", port: {DIALLED}, protocol: {protocol}}}"))
    });
    let backends = vips
        .into_iter()
        .flat_map(|vip| way.backends(vip))
        .map(|at| format!("{{address: \"{}\", port: {}}}", at.ip(), at.port()));
    format!(
        "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  mode: {}\n  listeners: [{}]\n  \
         tracks: [{{name: blue, backends: [{}]}}]\n",
        way.mode(),
        listeners.collect::<Vec<_>>().join(", "),
        backends.collect::<Vec<_>>().join(", ")
    )
}
