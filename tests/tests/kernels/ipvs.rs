//! The kernel's own balancer, IPVS, on the same hosts as ours: what both ends of a flow see is the same.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Agent, BACKENDS, Hosts, VIP_V4, VIP_V6};

/// Longest wait for an answer; nothing here is lost and sent again.
const PATIENCE: Duration = Duration::from_secs(20);

/// The port that clients dial, and the one where backends listen.
const DIALLED: u16 = 80;
const SERVED: u16 = 8080;

/// Whoever spreads the flows; its set-up ends with the hosts.
enum Balancer {
    Ipvs,
    Splitter(Box<Agent>),
}

/// Hosts whose first two backends serve the VIPs over TCP and UDP.
struct Scene {
    balancer: Balancer,
    hosts: Hosts,
}

impl Scene {
    fn with_ipvs() -> Result<Self> {
        let hosts = serving()?;
        for vip in [VIP_V4, VIP_V6] {
            let at = SocketAddr::new(vip, DIALLED);
            for protocol in ["-t", "-u"] {
                hosts
                    .balancer
                    .exec(&format!("ipvsadm -A {protocol} {at} -s rr"))?;
                for backend in backends(vip) {
                    let add = format!("ipvsadm -a {protocol} {at} -r {backend} -m");
                    hosts.balancer.exec(&add)?;
                }
            }
        }
        Ok(Self {
            balancer: Balancer::Ipvs,
            hosts,
        })
    }

    fn with_splitter() -> Result<Self> {
        let hosts = serving()?;
        let agent = Agent::start(&hosts)?;
        let list = |items: Vec<String>| items.join(", ");
        let vips = [VIP_V4, VIP_V6];
        let listeners = vips.iter().flat_map(|vip| {
            ["tcp", "udp"].map(|protocol| {
                format!("{{vip: \"{vip}\", port: {DIALLED}, protocol: {protocol}}}")
            })
        });
        let served = vips
            .into_iter()
            .flat_map(backends)
            .map(|backend| format!("{{address: \"{}\", port: {SERVED}}}", backend.ip()));
        agent
            .apply_yaml(&format!(
                "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  listeners: [{}]\n  \
                 tracks: [{{name: blue, backends: [{}]}}]\n",
                list(listeners.collect()),
                list(served.collect())
            ))?
            .succeeded()?;
        Ok(Self {
            balancer: Balancer::Splitter(Box::new(agent)),
            hosts,
        })
    }

    /// Takes a backend out of what new flows get.
    fn drain(&self, vip: IpAddr, backend: SocketAddr) -> Result<()> {
        match &self.balancer {
            Balancer::Ipvs => {
                let at = SocketAddr::new(vip, DIALLED);
                let edit = format!("ipvsadm -e -t {at} -r {backend} -m -w 0");
                self.hosts.balancer.exec(&edit)?;
            }
            Balancer::Splitter(agent) => {
                agent.ctl(&format!("drain web {backend}"))?.succeeded()?;
            }
        }
        Ok(())
    }

    /// A connection from `port` to `vip`.
    fn connect(&self, vip: IpAddr, port: u16) -> Result<Connection> {
        let from = SocketAddr::new(client(vip), port);
        let to = SocketAddr::new(vip, DIALLED);
        let stream = self.hosts.client.enter(|| connect(from, to))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// What a datagram from `port` to `vip` is answered, and by whom.
    fn datagram(&self, vip: IpAddr, port: u16) -> Result<String> {
        let from = SocketAddr::new(client(vip), port);
        let socket = self.hosts.client.enter(|| UdpSocket::bind(from))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send_to(b"who?", SocketAddr::new(vip, DIALLED))?;
        let mut buffer = [0; 256];
        let (length, peer) = socket.recv_from(&mut buffer).context("no answer")?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        Ok(format!("answered by {peer}: {text}"))
    }
}

/// A connection whose backend says, line by line, what it sees.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn ask(&mut self) -> Result<String> {
        self.0.get_mut().write_all(b"who?\n")?;
        let mut line = String::new();
        self.0.read_line(&mut line).context("no answer")?;
        let peer = self.0.get_ref().peer_addr()?;
        Ok(format!("answered by {peer}: {}", line.trim_end()))
    }
}

/// A connection from an address and port of our choice.
fn connect(from: SocketAddr, to: SocketAddr) -> Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let family = match from {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &from)?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

fn client(vip: IpAddr) -> IpAddr {
    let text = if vip.is_ipv4() {
        "198.18.1.10"
    } else {
        "2001:db8:1::10"
    };
    text.parse().expect("an address")
}

/// The backends of a VIP's family.
fn backends(vip: IpAddr) -> [SocketAddr; 2] {
    [0, 1].map(|number| {
        let backend = BACKENDS[number];
        let address = if vip.is_ipv4() {
            backend.v4.into()
        } else {
            backend.v6.into()
        };
        SocketAddr::new(address, SERVED)
    })
}

/// Hosts whose backends answer every line and datagram with both addresses that they see. The servers end with the process.
fn serving() -> Result<Hosts> {
    let hosts = Hosts::new()?;
    for at in [VIP_V4, VIP_V6].into_iter().flat_map(backends) {
        let (listener, socket) = hosts
            .backends
            .enter(|| anyhow::Ok((TcpListener::bind(at)?, UdpSocket::bind(at)?)))?;
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || answer_lines(stream));
            }
        });
        std::thread::spawn(move || answer_datagrams(&socket));
    }
    Ok(hosts)
}

fn answer_lines(stream: TcpStream) -> Result<()> {
    let seen = format!("{} came to {}\n", stream.peer_addr()?, stream.local_addr()?);
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(Ok(_)) = lines.next() {
        (&stream).write_all(seen.as_bytes())?;
    }
    Ok(())
}

fn answer_datagrams(socket: &UdpSocket) -> Result<()> {
    let here = socket.local_addr()?;
    let mut buffer = [0; 256];
    loop {
        let (_, peer) = socket.recv_from(&mut buffer)?;
        socket.send_to(format!("{peer} came to {here}").as_bytes(), peer)?;
    }
}

/// What both ends of some flows see, in order of their text: which of the backends a flow gets is each balancer's own.
fn seen(scene: &Scene, vip: IpAddr) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    for port in 40_000..40_016 {
        seen.push(scene.connect(vip, port)?.ask()?);
        seen.push(scene.datagram(vip, port)?);
    }
    Ok(seen)
}

/// With the backend's address, which must be one of the two, taken out.
fn without_choice(vip: IpAddr, seen: &[String]) -> Vec<String> {
    let [first, second] = backends(vip).map(|backend| format!("came to {backend}"));
    let mut chosen = [0, 0];
    let texts = seen.iter().map(|text| {
        chosen[0] += usize::from(text.ends_with(&first));
        chosen[1] += usize::from(text.ends_with(&second));
        text.replace(&first, "came").replace(&second, "came")
    });
    let texts = texts.collect();
    assert_eq!(chosen[0] + chosen[1], seen.len(), "{seen:?}");
    assert!(
        chosen[0] > 0 && chosen[1] > 0,
        "both backends serve: {seen:?}"
    );
    texts
}

#[test]
fn ends_of_a_flow_see_the_same_addresses_through_dnat_as_through_ipvs_nat() -> Result<()> {
    let (ipvs, splitter) = (Scene::with_ipvs()?, Scene::with_splitter()?);
    for vip in [VIP_V4, VIP_V6] {
        let theirs = without_choice(vip, &seen(&ipvs, vip)?);
        let ours = without_choice(vip, &seen(&splitter, vip)?);
        assert_eq!(ours, theirs);
        // Neither is a balancer that nobody went through.
        let first = SocketAddr::new(client(vip), 40_000);
        let listener = SocketAddr::new(vip, DIALLED);
        assert_eq!(ours[0], format!("answered by {listener}: {first} came"));
    }
    Ok(())
}

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones_as_with_ipvs() -> Result<()> {
    for scene in [Scene::with_ipvs()?, Scene::with_splitter()?] {
        for vip in [VIP_V4, VIP_V6] {
            let mut old = scene.connect(vip, 40_000)?;
            let before = old.ask()?;
            let [first, second] = backends(vip);
            let (drained, left) = match before.ends_with(&first.to_string()) {
                true => (first, second),
                false => (second, first),
            };
            scene.drain(vip, drained)?;
            assert_eq!(old.ask()?, before);
            for port in 40_001..40_009 {
                let new = scene.connect(vip, port)?.ask()?;
                assert!(new.ends_with(&left.to_string()), "{new}");
            }
            assert_eq!(old.ask()?, before);
        }
    }
    Ok(())
}
