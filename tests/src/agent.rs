//! The real `splitterd`, at work in the balancer's host.

mod answer;
mod configuration;
mod crash;
mod ctl;
mod request;

use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use answer::{Answer, Change};
pub use configuration::Configuration;
pub use crash::Fate;
pub use ctl::open_to_all;

use crate::cleanup::{Debt, Owed};
use crate::hosts::Hosts;
use crate::namespace::Namespace;
use crate::process::ChildGuard;
use crate::scratch::Scratch;
use crate::wait::await_until;

/// Longest time that a start, a stop or a detach may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An agent with its own configuration, state, socket and bpffs. On drop the process ends, the pins go with the bpffs,
/// and the directory with the rest.
#[derive(Debug)]
pub struct Agent {
    process: Option<ChildGuard>,
    _bpffs: Owed,
    notifications: UnixDatagram,
    balancer: Namespace,
    quiet: bool,
    environment: Vec<(&'static str, &'static str)>,
    scratch: Scratch,
}

impl Agent {
    /// Starts an agent on both interfaces of the balancer, natively, and waits until it says that it is ready.
    pub fn start(hosts: &Hosts) -> Result<Self> {
        Self::start_with(hosts, &Configuration::new())
    }

    /// Starts an agent with `configuration` and waits until it is ready.
    pub fn start_with(hosts: &Hosts, configuration: &Configuration) -> Result<Self> {
        let mut agent = Self::prepare(hosts, configuration)?;
        agent.restart()?;
        Ok(agent)
    }

    /// Makes everything that an agent needs, and doesn't start it.
    pub fn prepare(hosts: &Hosts, configuration: &Configuration) -> Result<Self> {
        let scratch = Scratch::new("agent")?;
        for directory in ["bpffs", "resources.d"] {
            std::fs::create_dir(scratch.join(directory))
                .with_context(|| format!("cannot make {directory}"))?;
        }
        scratch.write("splitterd.toml", &configuration.to_toml(scratch.path()))?;
        let notifications =
            UnixDatagram::bind(scratch.join("notify")).context("cannot listen for readiness")?;
        notifications.set_nonblocking(true)?;
        let agent = Self {
            process: None,
            _bpffs: Owed::new(Debt::Mount(scratch.join("bpffs"))),
            notifications,
            balancer: hosts.balancer.clone(),
            quiet: false,
            environment: Vec::new(),
            scratch,
        };
        agent.mount_bpffs()?;
        Ok(agent)
    }

    /// Doesn't print the end of its log on drop.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Writes another configuration, for the next start.
    pub fn reconfigure(&self, configuration: &Configuration) -> Result<()> {
        self.scratch.write(
            "splitterd.toml",
            &configuration.to_toml(self.scratch.path()),
        )?;
        Ok(())
    }

    /// Starts the agent, after stopping the one that runs, and waits until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        self.begin()?;
        self.await_ready()
    }

    /// Starts the agent, after stopping the one that runs, and does not wait.
    pub fn begin(&mut self) -> Result<()> {
        self.stop()?;
        self.forget_notifications();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .context("cannot open the log")?;
        let mut command = self.command(&[]);
        command
            .env("NOTIFY_SOCKET", self.scratch.join("notify"))
            .env("SPLITTER_CRASH", self.crash_file())
            .stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        self.process = Some(ChildGuard::spawn(command)?);
        Ok(())
    }

    /// Runs `splitterd` with this agent's configuration and `arguments` until it ends, whatever it says.
    pub fn run(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::of(self.command(arguments))
    }

    /// Runs `splitterd` as [`Agent::run`] does, as another user, in a namespace that root has entered.
    pub fn run_as(&self, uid: u32) -> Result<Answer> {
        // A copy, because another user may not get at the build directory.
        let copy = self.scratch.join("splitterd");
        std::fs::copy(binary("splitterd"), &copy).context("cannot copy splitterd")?;
        self.balancer.enter(|| {
            let mut command = Command::new(&copy);
            command
                .arg("--config")
                .arg(self.scratch.join("splitterd.toml"));
            command.uid(uid).gid(uid);
            Answer::of(command)
        })
    }

    /// Runs `command` as root without some capabilities: `-net_raw,-bpf`. Root gets at an exec what the bounding
    /// set leaves.
    pub fn run_without(&self, capabilities: &str, command: &Command) -> Result<Answer> {
        let mut robbed = self.balancer.command("setpriv");
        robbed.args(["--bounding-set", capabilities, "--inh-caps", capabilities]);
        robbed.arg(command.get_program()).args(command.get_args());
        robbed.env_remove("NOTIFY_SOCKET");
        Answer::of(robbed)
    }

    /// A `splitterd` command with this agent's configuration, in the balancer's host.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.balancer.command(binary("splitterd"));
        command
            .arg("--config")
            .arg(self.scratch.join("splitterd.toml"))
            .args(arguments);
        command.env_remove("NOTIFY_SOCKET");
        command.envs(self.environment.iter().copied());
        command
    }

    /// Gives it these variables from now on, and no others of these given before.
    pub fn environment(&mut self, variables: &[(&'static str, &'static str)]) {
        self.environment = variables.to_vec();
    }

    /// Asks the agent to stop (SIGTERM) and waits; the data plane stays. Nothing happens if it doesn't run.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.stop(PATIENCE).with_context(|| self.story()),
            None => Ok(()),
        }
    }

    /// `kill -9`.
    pub fn kill9(&mut self) -> Result<()> {
        self.process
            .take()
            .context("no agent runs that could be killed")?
            .kill9()
    }

    /// `splitterctl detach`: takes the data plane away, and the agent ends with success.
    pub fn detach(&mut self) -> Result<()> {
        self.ctl("detach")?.succeeded()?;
        let mut process = self
            .process
            .take()
            .context("no agent runs that could be detached")?;
        let status = process.wait(PATIENCE)?;
        ensure!(
            status.success(),
            "after detach the agent ended with {status}\n{}",
            self.story()
        );
        Ok(())
    }

    /// What a reboot does to pins: they are gone, and so is the data plane. The state stays. The agent must not run.
    pub fn reboot(&mut self) -> Result<()> {
        ensure!(
            self.process.is_none(),
            "stop or kill the agent before its host is rebooted"
        );
        self.unmount_bpffs()?;
        self.mount_bpffs()
    }

    /// Takes the bpffs away, pins and all.
    pub fn unmount_bpffs(&self) -> Result<()> {
        let path = self.scratch.join("bpffs");
        let mut unmount = Command::new("umount");
        unmount.arg(path);
        Answer::of(unmount)?
            .succeeded()
            .context("cannot unmount the bpffs")?;
        Ok(())
    }

    /// Takes the bpffs away from under an agent that has it open.
    pub fn detach_bpffs(&self) -> Result<()> {
        let mut unmount = Command::new("umount");
        unmount.arg("--lazy").arg(self.scratch.join("bpffs"));
        Answer::of(unmount)?
            .succeeded()
            .context("cannot unmount the bpffs")?;
        Ok(())
    }

    /// Where it has pinned the map called `name`.
    ///
    /// # Errors
    /// If it has not.
    pub fn pin(&self, name: &str) -> Result<PathBuf> {
        let bpffs = self.scratch.join("bpffs");
        for instance in std::fs::read_dir(&bpffs)? {
            let pin = instance?.path().join("pins/maps").join(name);
            if pin.exists() {
                return Ok(pin);
            }
        }
        anyhow::bail!("no map {name} is pinned under {}", bpffs.display())
    }

    /// The socket of its API.
    pub fn socket(&self) -> PathBuf {
        self.scratch.join("splitterd.sock")
    }

    /// The directory of its state.
    pub fn state_directory(&self) -> PathBuf {
        self.scratch.join("state")
    }

    /// The directory of the resources that it applies at its start.
    pub fn resources_directory(&self) -> PathBuf {
        self.scratch.join("resources.d")
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The process id of the running agent.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ChildGuard::pid)
    }

    /// What `/proc` calls the process, but for its number: `status`, `task`.
    pub fn proc(&self, name: &str) -> Result<PathBuf> {
        let pid = self.pid().context("no agent runs")?;
        Ok(PathBuf::from(format!("/proc/{pid}/{name}")))
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.join("splitterd.log")
    }

    fn mount_bpffs(&self) -> Result<()> {
        let path = self.scratch.join("bpffs");
        let mut mount = Command::new("mount");
        mount.args(["-t", "bpf", "bpf"]).arg(path);
        Answer::of(mount)?
            .succeeded()
            .context("cannot mount a bpffs")?;
        Ok(())
    }

    fn forget_notifications(&self) {
        while self.notifications.recv(&mut [0; 256]).is_ok() {}
    }

    fn await_ready(&mut self) -> Result<()> {
        let mut ended = None;
        let Self {
            process,
            notifications,
            ..
        } = self;
        let process = process.as_mut().context("no agent was started")?;
        let waited = await_until(PATIENCE, "splitterd to be ready", || {
            ended = process.ended().ok().flatten();
            ended.is_some() || says_ready(notifications)
        });
        if ended.is_some() {
            self.process = None;
        }
        match ended {
            Some(status) => bail!(
                "splitterd ended with {status} before it was ready\n{}",
                self.story()
            ),
            None => waited.with_context(|| self.story()),
        }
    }

    /// The end of the log, for errors.
    fn story(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        format!(
            "its log ends:\n{}",
            lines[lines.len().saturating_sub(30)..].join("\n")
        )
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The log goes with the directory. The test harness shows this for tests that fail, and for no others.
        if !self.quiet {
            eprintln!("splitterd: {}", self.story());
        }
    }
}

/// Whether a notification says READY=1 (sd_notify(3): lines of one datagram).
fn says_ready(notifications: &UnixDatagram) -> bool {
    let mut buffer = [0; 1024];
    notifications.recv(&mut buffer).is_ok_and(|length| {
        buffer[..length]
            .split(|&byte| byte == b'\n')
            .any(|line| line == b"READY=1")
    })
}

/// The directory where `cargo xtask build` leaves the binaries: that of the running executable, or of `SPLITTERD`.
pub fn profile_directory() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let directory = own.parent().unwrap_or(Path::new("."));
    // Test binaries are one level deeper.
    if directory.ends_with("deps") {
        directory.parent().unwrap_or(directory).to_owned()
    } else {
        directory.to_owned()
    }
}

/// The binary `name`: where the variable of its name in capitals says, or beside the running executable.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = std::env::var_os(name.to_uppercase())
        .map_or_else(|| profile_directory().join(name), PathBuf::from);
    assert!(
        path.exists(),
        "{} is not there: build it with `cargo xtask build`",
        path.display()
    );
    path
}
