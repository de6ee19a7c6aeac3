//! A real web server: every backend answers HTTP with its own name, serves the files that the lab offers, and keeps
//! those that clients put.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::hosts::{BACKENDS, Backend, Hosts, VIP_V4, VIP_V6};
use crate::namespace::Namespace;
use crate::process::ChildGuard;
use crate::scratch::Scratch;
use crate::wait::await_some;

/// The port of the web servers.
const PORT: u16 = 80;

/// One nginx in the backends' host, with a server for each backend; ends with this guard.
#[derive(Debug)]
pub struct Nginx {
    process: ChildGuard,
    // Dropped after the process.
    scratch: Scratch,
}

impl Nginx {
    /// Starts it, and returns once it answers.
    pub fn start(hosts: &Hosts) -> Result<Self> {
        let servers: Vec<_> = BACKENDS
            .iter()
            .map(|backend| {
                let at_vip = hosts.at_vip.is_some_and(|sole| sole.name == backend.name);
                Server { backend, at_vip }
            })
            .collect();
        Self::serve(&hosts.backends, &servers)
    }

    /// Starts the server of one backend on a host of its own, at its own addresses and at the VIPs.
    pub fn start_apart(host: &Namespace, backend: &'static Backend) -> Result<Self> {
        let at_vip = true;
        Self::serve(host, &[Server { backend, at_vip }])
    }

    fn serve(host: &Namespace, servers: &[Server]) -> Result<Self> {
        let scratch = Scratch::new("nginx")?;
        let log = scratch.join("error.log");
        std::fs::create_dir(scratch.join("files")).context("cannot make a directory for files")?;
        let configuration = scratch.write("nginx.conf", &configuration(servers))?;
        let mut command = host.command("nginx");
        command
            .arg("-e")
            .arg(&log)
            .arg("-p")
            .arg(scratch.path())
            .arg("-c")
            .arg(configuration);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process =
            ChildGuard::spawn(command).context("the lab's web servers are nginx: install it")?;
        await_some(
            Duration::from_secs(10),
            "nginx to answer",
            || match process.ended() {
                Ok(None) => host
                    .enter(|| answers(servers[0].backend.v4))
                    .then_some(Ok(())),
                Ok(Some(status)) => {
                    let said = std::fs::read_to_string(&log).unwrap_or_default();
                    Some(Err(anyhow::anyhow!(
                        "nginx ended at once with {status}: {said}"
                    )))
                }
                Err(error) => Some(Err(error)),
            },
        )??;
        Ok(Self { process, scratch })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where a file lies that clients get, or have put, as `/files/NAME`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.join("files").join(name)
    }
}

/// All servers listen before the first one answers: one look is enough.
fn answers(address: Ipv4Addr) -> bool {
    TcpStream::connect_timeout(
        &SocketAddr::from((address, PORT)),
        Duration::from_millis(200),
    )
    .is_ok()
}

/// A backend's server, at its own addresses and, where backends answer from there, at the VIPs.
#[derive(Clone, Copy, Debug)]
struct Server {
    backend: &'static Backend,
    at_vip: bool,
}

fn configuration(servers: &[Server]) -> String {
    let servers: String = servers.iter().map(Server::section).collect();
    // One process, so that one pid is all there is to end.
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nuser root;\nworker_rlimit_nofile 65536;\n\
         events {{ worker_connections 32768; }}\n\
         http {{\n\
         access_log off;\n\
         client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n\
         default_type text/plain;\n\
         keepalive_requests 1000000000;\nkeepalive_timeout 1h;\n\
         {servers}}}\n"
    )
}

impl Server {
    fn section(&self) -> String {
        let Backend { name, v4, v6 } = self.backend;
        let mut listen =
            format!("listen {v4}:{PORT} backlog=4096; listen [{v6}]:{PORT} backlog=4096;");
        if self.at_vip {
            listen += &format!(" listen {VIP_V4}:{PORT}; listen [{VIP_V6}]:{PORT};");
        }
        format!(
            "server {{ {listen}\n\
         location / {{ return 200 \"{name}\\n\"; }}\n\
         location /peer {{ return 200 \"$remote_addr $remote_port\\n\"; }}\n\
         location /files/ {{ root .; dav_methods PUT; client_max_body_size 0; }} }}\n"
        )
    }
}
