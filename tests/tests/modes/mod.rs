//! Real TCP and UDP in every mode: what arrives is compared with what was sent.

mod backend_setup;
mod changes;
mod datagrams;
mod errors;
mod fleet;
mod jumbo;
mod options;
mod path_mtu;
mod ports;
mod resets;
mod transfers;

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use lab::{
    BRIEF, BackendHost, Blob, Configuration, Hosts, Mode, SOLE, Service, Site, Topology, Transfer,
    UdpEcho, VIP_V4, VIP_V6,
};

/// The port of the datagram service.
const ECHO: u16 = 7;

/// Both VIPs at the datagram service.
const ECHOES: [SocketAddr; 2] = [SocketAddr::new(VIP_V4, ECHO), SocketAddr::new(VIP_V6, ECHO)];

/// A site with a TCP and a UDP service of one mode. Fields are dropped in this order.
struct ModeSite {
    site: Site,
    echo: Option<UdpEcho>,
    _decap: Option<BackendHost>,
}

impl Drop for ModeSite {
    fn drop(&mut self) {
        // Shown for tests that fail: it says where packets went.
        if let Ok(met) = self.site.agent.all_verdicts() {
            eprintln!("{}", met.join("\n"));
        }
    }
}

impl std::ops::Deref for ModeSite {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl ModeSite {
    /// Both services have one backend, [`SOLE`].
    fn new(topology: Topology, mode: Mode, configuration: &Configuration) -> Result<Self> {
        Self::prepared(topology, mode, configuration, |_| Ok(()))
    }

    /// The same, on hosts that `prepare` has changed before anything runs there.
    fn prepared(
        topology: Topology,
        mode: Mode,
        configuration: &Configuration,
        prepare: impl FnOnce(&Hosts) -> Result<()>,
    ) -> Result<Self> {
        let track = lab::track_of(SOLE.name);
        let weights = [(track, "100%")];
        let web = Service::web(&weights).mode(mode).with(BRIEF);
        let echo = Service::named("echo", &weights)
            .mode(mode)
            .listener(VIP_V4, ECHO, "udp")
            .listener(VIP_V6, ECHO, "udp");
        let hosts = topology.build()?;
        prepare(&hosts)?;
        // Where nothing was set up, `prepare` has done it.
        let decap = (mode == Mode::Ipip && topology.has_backend_setup())
            .then(|| BackendHost::decapsulating(&hosts.backends))
            .transpose()?;
        let servers = UdpEcho::start(&hosts, ECHO)?;
        let site = Site::on(hosts, configuration, &web)?;
        site.agent.apply(&echo)?;
        Ok(Self {
            site,
            echo: Some(servers),
            _decap: decap,
        })
    }

    /// Ends the datagram servers.
    fn close_echoes(&mut self) {
        self.echo = None;
    }

    /// Has the client download `blob` from a VIP.
    fn download(&self, blob: &Blob, vip: IpAddr) -> Result<Transfer> {
        blob.download(&self.hosts.client, &self.nginx, vip)
    }

    /// Has the client upload `blob` to a VIP.
    fn upload(&self, blob: &Blob, vip: IpAddr) -> Result<Transfer> {
        blob.upload(&self.hosts.client, &self.nginx, vip)
    }

    /// Fails unless the program has met `reason` at least once.
    #[track_caller]
    fn assert_met(&self, reason: &str) -> Result<()> {
        let met = self.agent.verdicts(reason)?;
        assert!(met > 0, "no packet met the verdict {reason}");
        Ok(())
    }
}
