//! `splitterd decap`: the command line.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{AttachMode, Pinned, default_sources, parse_source};

const AFTER_HELP: &str = "\
Taken out of its tunnel is a packet that is IPv4 in IPv4 (protocol 4) or IPv6 in IPv6 (next header 41), comes from one of
--source, to an address of this host, with one of --vip inside. Whatever fits none of that goes to the stack as it is, counted;
malformed ones are dropped. Congestion marks follow RFC 6040.

Stopping the process (SIGTERM) leaves the program attached; starting it again replaces it between two packets. While it runs it
looks after the program: a new address of this host, or an interface that comes back, takes effect within 5 s.

Examples:
  splitterd decap --interface eth0 --vip 198.18.1.100,2001:db8:1::100
  splitterd decap --interface eth0 --vip 198.18.1.100 --source 198.19.0.0/16 --mode generic
  splitterd decap --status
  splitterd decap --detach

What else a backend needs: splitterctl backend-setup --mode ipip --help";

/// Takes packets for the VIPs out of the balancers' tunnels (mode ipip), on a backend's host.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Where packets of balancers come in; several are parted by commas or given one by one
    #[arg(long, value_name = "DEV", value_delimiter = ',', required_unless_present_any = ["status", "detach"])]
    interface: Vec<String>,
    /// What clients dial
    #[arg(long, value_name = "ADDR", value_delimiter = ',', required_unless_present_any = ["status", "detach"])]
    vip: Vec<IpAddr>,
    /// Where tunnels may begin: the balancers' `[tunnel]` outer_source_v4 and outer_source_v6
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', value_parser = parse_source,
        default_values_t = default_sources())]
    source: Vec<IpNet>,
    /// Where tunnels may end, the addresses that balancers know as backends; without it: all of this host's but the VIPs
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    address: Vec<IpAddr>,
    /// How to attach: in the driver, in the stack (slow), or whichever works
    #[arg(long, value_enum, default_value = "native")]
    mode: AttachMode,
    /// Attach and end: the program stays, nobody looks after it
    #[arg(long, conflicts_with_all = ["status", "detach"])]
    once: bool,
    /// Show interfaces, rules and counters; exit code 1 if an interface has lost the program
    #[arg(long, conflicts_with = "detach")]
    status: bool,
    /// With --status: as JSON
    #[arg(long, requires = "status")]
    json: bool,
    /// Take the program of a stopped process off its interfaces
    #[arg(long)]
    detach: bool,
    /// Where pins live; mounted there if it is not
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// Parts decapsulators that share a BPF file system
    #[arg(long, default_value = "splitter-decap")]
    name: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Attach, and look after it until told to stop.
    Run,
    /// Attach, and end.
    Once,
    /// Show.
    Status {
        /// As JSON.
        json: bool,
    },
    /// Take away.
    Detach,
}

impl Arguments {
    /// What is to be done.
    #[must_use]
    pub const fn task(&self) -> Task {
        match (self.status, self.detach, self.once) {
            (true, ..) => Task::Status { json: self.json },
            (_, true, _) => Task::Detach,
            (_, _, true) => Task::Once,
            _ => Task::Run,
        }
    }

    /// Where pins live.
    #[must_use]
    pub fn pinned(&self) -> Pinned {
        Pinned::new(&self.bpffs, &self.name)
    }

    /// What is to be attached.
    #[must_use]
    pub fn wanted(&self) -> super::Wanted {
        super::Wanted {
            interfaces: self.interface.clone(),
            vips: self.vip.clone(),
            sources: self.source.clone(),
            addresses: self.address.clone(),
            mode: self.mode.into(),
            bpffs: self.bpffs.clone(),
            name: self.name.clone(),
        }
    }
}
