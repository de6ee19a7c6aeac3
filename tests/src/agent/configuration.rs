//! `splitterd.toml`, as the lab needs it.

use std::path::Path;

/// A configuration; what isn't set here is the agent's default, but for the paths, which are the lab's.
#[derive(Clone, Debug)]
pub struct Configuration {
    interfaces: Vec<String>,
    xdp_mode: String,
    name: String,
    lines: Vec<String>,
    paths: Vec<(String, String)>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new()
    }
}

impl Configuration {
    /// Native XDP on both interfaces of the balancer.
    pub fn new() -> Self {
        Self {
            interfaces: vec!["eth0".into(), "eth1".into()],
            xdp_mode: "native".into(),
            name: "splitter".into(),
            lines: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// Other interfaces.
    pub fn interfaces(mut self, interfaces: &[&str]) -> Self {
        self.interfaces = interfaces
            .iter()
            .map(|&interface| interface.to_owned())
            .collect();
        self
    }

    /// `native`, `generic` or `auto`.
    pub fn xdp_mode(mut self, mode: &str) -> Self {
        self.xdp_mode = mode.to_owned();
        self
    }

    /// Another instance name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Another path for `socket`, `state_dir`, `bpffs` or `resources`.
    pub fn path(mut self, key: &str, path: &Path) -> Self {
        self.paths
            .push((key.to_owned(), path.display().to_string()));
        self
    }

    /// Adds a line at the end; tables are opened by lines of their own.
    pub fn with(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    pub(super) fn to_toml(&self, directory: &Path) -> String {
        let mut toml = format!(
            "interfaces = {:?}\nxdp_mode = {:?}\nname = {:?}\n",
            self.interfaces, self.xdp_mode, self.name
        );
        let defaults = [
            ("socket", "splitterd.sock"),
            ("state_dir", "state"),
            ("bpffs", "bpffs"),
            ("resources", "resources.d"),
        ];
        for (key, file) in defaults {
            let told = self
                .paths
                .iter()
                .rev()
                .find(|(other, _)| other == key)
                .map(|(_, path)| path.clone());
            let path = told.unwrap_or_else(|| directory.join(file).display().to_string());
            toml += &format!("{key} = {path:?}\n");
        }
        for line in &self.lines {
            toml += line;
            toml.push('\n');
        }
        toml
    }
}
