//! From a configuration to a writer and a program on its interfaces.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;

use splitter_ebpf::hash::{derive, digest};
use tokio::sync::watch;

use super::{DaemonError, io};
use crate::config::{Config, XdpMode};
use crate::dataplane::kernel::Kernel;
use crate::dataplane::{DataPlane as _, WayBack, grace_period};
use crate::host;
use crate::interface::Interface;
use crate::loader::{Attached, Layout, Mode, Opened, Pins, attach, look_at};
use crate::prod::Raw;
use crate::store::{Store, secret};
use crate::writer::{Grace, Writer};

/// Everything that must live as long as the agent.
pub(super) struct Started {
    /// Keeps a second agent of this name out.
    pub lock: File,
    /// The pins.
    pub pins: Pins,
    /// The writer, not running yet.
    pub writer: Writer<Kernel>,
    /// The interfaces.
    pub kernel_attached: Vec<Attached>,
    /// The route epoch that cached next hops may have.
    pub epoch: u32,
    /// Backends whose next hops are wanted.
    pub addresses: watch::Sender<BTreeSet<IpAddr>>,
}

/// What belongs to this agent alone, from before it touches the data plane.
pub(super) struct Claim {
    lock: File,
    pins: Pins,
    store: Store,
    secret: [u8; 32],
    way_back: WayBack,
}

/// Looks at the host, keeps a second agent of this name out, and opens the state.
pub(super) fn claim(config: &Config) -> Result<Claim, DaemonError> {
    host::check_kernel(&host::kernel_release())?;
    host::check_privileges()?;
    let mut way_back = WayBack::Transmit;
    for name in &config.interfaces {
        let interface = Interface::find(name).map_err(crate::loader::AttachError::from)?;
        if interface.kind.as_deref() == Some("veth") {
            way_back = WayBack::Redirect;
        }
    }
    host::ensure_bpffs(&config.bpffs)?;
    let pins = Pins::new(&config.bpffs, &config.name);
    let lock = host::lock_instance(pins.root())?;
    // Now: to name a program that is somebody else's takes more privileges than the agent keeps.
    look_at(&pins.links(), &config.interfaces)?;
    let mut store = Store::open(&config.state_dir)?;
    let secret = secret(&config.state_dir)?;
    check_secret(config, &mut store, &secret)?;
    Ok(Claim {
        lock,
        pins,
        store,
        secret,
        way_back,
    })
}

/// Takes the data plane over or makes it, and puts the program on its interfaces.
pub(super) fn start(config: &Config, claim: Claim) -> Result<Started, DaemonError> {
    let Claim {
        lock,
        pins,
        store,
        secret,
        way_back,
    } = claim;
    let limits = &config.limits;
    let wanted = Layout::new(limits.services, limits.backends, limits.flows);
    let Opened { kernel, adopted } = pins.open(wanted, &secret)?;
    // What is made here and not finished is taken away again; what was adopted stays as it was.
    let made = Made {
        pins: pins.clone(),
        keep: adopted,
    };
    if adopted {
        tracing::info!("the data plane runs already: taking it over");
    }
    let pending = kernel.tables().layout != wanted;
    let (addresses, _) = watch::channel(BTreeSet::new());
    let grace = Grace::start(grace_period).map_err(io("start a thread"))?;
    let mut writer = Writer::recover(kernel, store, secret, adopted, grace, addresses.clone())?;
    writer.translate_to(config.nat.clone());
    match Raw::open() {
        Ok(raw) => writer.prod_with(Box::new(raw)),
        Err(error) => tracing::warn!(
            %error,
            "no raw socket: idle ends of flows that are reset are not told before they speak; give the agent CAP_NET_RAW"
        ),
    }
    if pending {
        writer.limits_pending(&wanted);
    }
    let mode = match config.xdp_mode {
        XdpMode::Native => Mode::Native,
        XdpMode::Generic => Mode::Generic,
        XdpMode::Auto => Mode::Auto,
    };
    // Last, so that a start which fails leaves an adopted data plane as it was.
    let kernel_attached = attach(
        writer.plane_mut(),
        &pins.links(),
        &config.interfaces,
        mode,
        |kernel| {
            let cap = kernel.rate().per_tick(limits.new_flows_per_second);
            kernel.tables().set_way_back(way_back);
            kernel.tables().set_tunnel(config.tunnel.wire());
            kernel.tables().set_new_flows_per_tick(cap);
        },
    )?;
    let epoch = writer.route_epoch();
    made.done();
    Ok(Started {
        lock,
        pins,
        writer,
        kernel_attached,
        epoch,
        addresses,
    })
}

/// The state remembers which secret it was made with, without telling it.
fn check_secret(config: &Config, store: &mut Store, secret: &[u8; 32]) -> Result<(), DaemonError> {
    const KEY: &str = "secret";
    let name = format!("{:016x}", digest(derive(secret, "name", ""), b"secret"));
    match store.meta(KEY)? {
        Some(there) if there != name => Err(DaemonError::OtherSecret {
            path: config.state_dir.join("secret"),
        }),
        Some(_) => Ok(()),
        None => Ok(store.set_meta(KEY, &name)?),
    }
}

struct Made {
    pins: Pins,
    keep: bool,
}

impl Made {
    fn done(mut self) {
        self.keep = true;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.pins.remove()
        {
            tracing::warn!(%error, "cannot remove the pins of a start that failed");
        }
    }
}
