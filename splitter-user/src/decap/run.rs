//! The life of the decapsulator's process. Ending leaves the program attached.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::pins::{DecapError, Pinned};
use super::{Arguments, Rules, Status, Task, Unchecked, locals};
use crate::host;
use crate::interface::{self, XdpMode};
use crate::loader::Mode;

/// Pause between two looks at addresses and interfaces.
const LOOK: Duration = Duration::from_secs(5);

/// A decapsulator as somebody wants it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where packets of balancers come in.
    pub interfaces: Vec<String>,
    /// What clients dial.
    pub vips: Vec<IpAddr>,
    /// Where tunnels may begin.
    pub sources: Vec<IpNet>,
    /// Where tunnels may end; none: all addresses of this host but the VIPs.
    pub addresses: Vec<IpAddr>,
    /// How to attach.
    pub mode: Mode,
    /// Where pins live.
    pub bpffs: PathBuf,
    /// The instance.
    pub name: String,
}

impl Wanted {
    /// Its pins.
    #[must_use]
    pub fn pinned(&self) -> Pinned {
        Pinned::new(&self.bpffs, &self.name)
    }

    /// The rules, with this host's addresses as they are now.
    ///
    /// # Errors
    /// [`DecapError::Rules`], or what the kernel says.
    pub fn rules(&self) -> Result<Rules, DecapError> {
        let locals = if self.addresses.is_empty() {
            locals(&self.vips)?
        } else {
            self.addresses.clone()
        };
        Ok(Rules::new(Unchecked {
            vips: self.vips.clone(),
            sources: self.sources.clone(),
            locals,
        })?)
    }

    /// Attaches it, or replaces what is attached under this name. What is returned keeps other
    /// processes of this name out for as long as it lives; the program stays in any case.
    ///
    /// # Errors
    /// [`DecapError`].
    pub fn attach(&self) -> Result<File, DecapError> {
        host::ensure_bpffs(&self.bpffs)?;
        let lock = self.pinned().lock()?;
        let outcome = self.rules().and_then(|rules| self.put(&rules));
        if outcome.is_err() && !self.pinned().exist() {
            // Only an empty directory is left, of which the lock was.
            let _removed =
                std::fs::remove_dir(self.bpffs.join(crate::loader::pin_name(&self.name)));
        }
        outcome.map(|()| lock)
    }

    fn put(&self, rules: &Rules) -> Result<(), DecapError> {
        let attached = self.pinned().put(rules, &self.interfaces, self.mode)?;
        for interface in attached {
            if interface.mode == XdpMode::Generic {
                tracing::warn!(
                    interface = interface.name,
                    "XDP runs in generic mode: it works, but slowly"
                );
            }
        }
        Ok(())
    }

    /// Whether every interface carries the attached program.
    fn is_carried(&self) -> bool {
        let Ok(there) = interface::list() else {
            return true;
        };
        self.interfaces.iter().all(|name| {
            let carried = there.iter().find(|found| found.name == *name);
            let carried = carried
                .and_then(|found| found.xdp)
                .map(|xdp| xdp.program_id);
            carried.is_some() && carried == self.pinned().program_on(name)
        })
    }
}

/// Does what a command line asks for.
///
/// # Errors
/// [`DecapError`].
pub fn perform(arguments: &Arguments) -> Result<ExitCode, DecapError> {
    let say = |text: &str| match io::stdout().write_all(text.as_bytes()) {
        // A closed pipe is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(DecapError::Io {
            action: "write to stdout",
            source: error,
        }),
        _ => Ok(()),
    };
    match arguments.task() {
        Task::Status { json } => {
            let status = Status::read(&arguments.pinned())?;
            if json {
                let text =
                    serde_json::to_string_pretty(&status).map_err(|error| DecapError::Io {
                        action: "write JSON",
                        source: error.into(),
                    })?;
                say(&format!("{text}\n"))?;
            } else {
                say(&status.to_string())?;
            }
            return Ok(if status.is_whole() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Task::Detach => {
            arguments.pinned().remove()?;
            say("detached: the decapsulator is off all interfaces\n")?;
        }
        Task::Once => {
            check_host()?;
            let wanted = arguments.wanted();
            warn_of_missing(&wanted);
            drop(wanted.attach()?);
            say(&format!(
                "attached to {}; it stays\n",
                wanted.interfaces.join(", ")
            ))?;
        }
        Task::Run => {
            check_host()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(io("start"))?;
            runtime.block_on(look_after(&arguments.wanted()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check_host() -> Result<(), DecapError> {
    host::check_kernel(&host::kernel_release())?;
    Ok(host::check_privileges()?)
}

fn io(action: &'static str) -> impl Fn(io::Error) -> DecapError {
    move |source| DecapError::Io { action, source }
}

/// Attaches, and looks after it until SIGTERM or SIGINT.
async fn look_after(wanted: &Wanted) -> Result<(), DecapError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(io("wait for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("wait for signals"))?;
    let lock = wanted.attach()?;
    warn_of_missing(wanted);
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "cannot tell systemd that the decapsulator is ready");
    }
    tracing::info!(interfaces = ?wanted.interfaces, "ready");
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = BTreeSet::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = looks.tick() => {}
        }
        match mend(wanted) {
            Ok(()) => told.clear(),
            Err(error) => {
                // Once for each kind of trouble: this is asked every few seconds.
                let error = error.to_string();
                if told.insert(error.clone()) {
                    tracing::error!(
                        error,
                        "cannot put the decapsulator in force again; it is tried every 5 s"
                    );
                }
            }
        }
    }
    tracing::info!("stopping; the program stays attached");
    drop(lock);
    Ok(())
}

/// Puts in force again what has changed or got lost.
fn mend(wanted: &Wanted) -> Result<(), DecapError> {
    let rules = wanted.rules()?;
    let known = wanted.pinned().rules();
    if known.as_ref() == Some(&rules) && wanted.is_carried() {
        return Ok(());
    }
    wanted.put(&rules)?;
    tracing::info!(addresses = ?rules.locals().collect::<Vec<_>>(), "put in force again: addresses or interfaces have changed");
    Ok(())
}

/// A VIP that this host does not have is not taken by its stack.
fn warn_of_missing(wanted: &Wanted) {
    let Ok(addresses) = interface::addresses() else {
        return;
    };
    for vip in &wanted.vips {
        if !addresses.iter().any(|found| found.address == *vip) {
            tracing::warn!(
                "this host does not have the VIP, so its stack takes no packet for it: \
                 splitterctl backend-setup --mode ipip --vip {vip} --interface {}",
                wanted.interfaces.join(",")
            );
        }
    }
}
