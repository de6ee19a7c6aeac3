//! Services as an operator would write them.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::hosts::{VIP_V4, VIP_V6, backends_of};
use crate::mode::Mode;

/// A service over the lab's backends, rendered as YAML.
#[derive(Clone, Debug)]
pub struct Service {
    name: String,
    mode: Mode,
    listeners: Vec<(IpAddr, u16, &'static str)>,
    tracks: Vec<(String, Option<String>)>,
    lines: Vec<String>,
}

impl Service {
    /// `web`: both VIPs, port 80, TCP; each of `tracks` with its weight and all backends of that name.
    pub fn web(tracks: &[(&str, &str)]) -> Self {
        Self::named("web", tracks)
            .listener(VIP_V4, 80, "tcp")
            .listener(VIP_V6, 80, "tcp")
    }

    /// A service without listeners yet.
    pub fn named(name: &str, tracks: &[(&str, &str)]) -> Self {
        let tracks = tracks
            .iter()
            .map(|&(track, weight)| (track.to_owned(), Some(weight.to_owned())))
            .collect();
        Self {
            name: name.to_owned(),
            mode: Mode::Dnat,
            listeners: Vec::new(),
            tracks,
            lines: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a listener.
    pub fn listener(mut self, vip: IpAddr, port: u16, protocol: &'static str) -> Self {
        self.listeners.push((vip, port, protocol));
        self
    }

    /// Another mode than `dnat`.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Leaves the weights out: those in force stay.
    pub fn without_weights(mut self) -> Self {
        for (_, weight) in &mut self.tracks {
            *weight = None;
        }
        self
    }

    /// Adds a line of YAML to the spec: `affinity: {key: clientIP}`.
    pub fn with(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// The document.
    pub fn to_yaml(&self) -> String {
        let mut yaml = format!(
            "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: {}}}\nspec:\n  listeners:\n",
            self.name
        );
        for (vip, port, protocol) in &self.listeners {
            push(
                &mut yaml,
                format_args!("    - {{vip: \"{vip}\", port: {port}, protocol: {protocol}}}"),
            );
        }
        push(&mut yaml, format_args!("  mode: {}", self.mode.name()));
        for line in &self.lines {
            push(&mut yaml, format_args!("  {line}"));
        }
        push(&mut yaml, format_args!("  tracks:"));
        for (track, weight) in &self.tracks {
            push(&mut yaml, format_args!("    - name: {track}"));
            if let Some(weight) = weight {
                push(&mut yaml, format_args!("      weight: {weight}"));
            }
            push(&mut yaml, format_args!("      backends:"));
            for backend in backends_of(track) {
                for address in [IpAddr::from(backend.v4), IpAddr::from(backend.v6)] {
                    if self.serves(address) {
                        push(
                            &mut yaml,
                            format_args!("        - {{address: \"{address}\"}}"),
                        );
                    }
                }
            }
        }
        yaml
    }

    /// Whether a listener has the family of `address`.
    fn serves(&self, address: IpAddr) -> bool {
        self.listeners
            .iter()
            .any(|(vip, ..)| vip.is_ipv4() == address.is_ipv4())
    }
}

fn push(yaml: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(yaml, "{line}").expect("writing to a string succeeds");
}
