//! What the values of the configuration may be.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::read::Table;
use super::{Limits, XdpMode};
use crate::diagnostic::{Report, closest};

/// Longest name of an interface: the kernel's IFNAMSIZ is 16, with its zero byte.
const MAX_INTERFACE_NAME: usize = 15;
/// Longest path of a unix socket: `sun_path` is 108, with its zero byte.
const MAX_SOCKET_PATH: usize = 107;
/// Longest name of an instance.
const MAX_NAME: usize = 32;

pub(super) fn interfaces(root: &Table<'_>, report: &mut Report<'_>) -> Vec<String> {
    let fix = "name the interfaces that packets come in on, such as interfaces = [\"eth0\"]";
    let Some(value) = root.get("interfaces") else {
        report.error(None, "interfaces", "`interfaces` is missing", fix);
        return Vec::new();
    };
    let Some(elements) = value.elements(report) else {
        return Vec::new();
    };
    if elements.is_empty() {
        value.error(report, "`interfaces` is empty: at least one is needed", fix);
    }
    let mut seen = BTreeSet::new();
    for element in &elements {
        let Some(name) = element.string(report) else {
            continue;
        };
        if let Some(reason) = not_an_interface(name) {
            element.error(report, format!("`{name}` {reason}"), fix);
        } else if !seen.insert(name.to_owned()) {
            let message = format!("`{name}` is given twice");
            element.error(report, message, "write each interface once");
        }
    }
    let strings = elements.iter().filter_map(|e| e.string(report));
    let mut kept = Vec::new();
    for name in strings {
        if seen.remove(name) {
            kept.push(name.to_owned());
        }
    }
    kept
}

/// The rules of the kernel's `dev_valid_name`, and one of ours.
fn not_an_interface(name: &str) -> Option<&'static str> {
    if name == "lo" {
        return Some("is the loopback device: XDP is never attached to it");
    }
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > MAX_INTERFACE_NAME {
        return Some("cannot be an interface: names have 1 to 15 bytes");
    }
    if matches!(name, "." | "..") || name.chars().any(odd) {
        return Some("cannot be an interface: names have no `/`, `:` or space");
    }
    None
}

pub(super) fn xdp_mode(root: &Table<'_>, report: &mut Report<'_>) -> Option<XdpMode> {
    let value = root.get("xdp_mode")?;
    let text = value.string(report)?;
    match text {
        "native" => Some(XdpMode::Native),
        "generic" => Some(XdpMode::Generic),
        "auto" => Some(XdpMode::Auto),
        _ => {
            let words = ["native", "generic", "auto"];
            value.error(
                report,
                format!("`{text}` is not a mode; allowed: native, generic, auto"),
                match closest(text, words) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "write \"native\", unless the driver cannot do it".to_owned(),
                },
            );
            None
        }
    }
}

pub(super) fn name(root: &Table<'_>, report: &mut Report<'_>) -> Option<String> {
    let value = root.get("name")?;
    let name = value.string(report)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() <= MAX_NAME && name.chars().all(plain) {
        return Some(name.to_owned());
    }
    value.error(
        report,
        format!(
            "`{name}` cannot name an instance: 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`, \
             beginning with a letter or digit"
        ),
        "it becomes a folder's name: write it like \"splitter\" or \"splitter-2\"",
    );
    None
}

/// An absolute path. `NAME` in it stands for the instance.
pub(super) fn path(
    root: &Table<'_>,
    key: &str,
    name: &str,
    report: &mut Report<'_>,
) -> Option<PathBuf> {
    let value = root.get(key)?;
    let text = value.string(report)?;
    if !text.starts_with('/') || text.contains('\0') {
        value.error(
            report,
            format!("`{text}` is not an absolute path"),
            "write a path that begins with `/`",
        );
        return None;
    }
    let parts = text.split('/');
    let parts: Vec<&str> = parts.map(|p| if p == "NAME" { name } else { p }).collect();
    Some(PathBuf::from(parts.join("/")))
}

pub(super) fn socket_length(socket: &Path, root: &Table<'_>, report: &mut Report<'_>) {
    let length = socket.as_os_str().as_bytes().len();
    if length <= MAX_SOCKET_PATH {
        return;
    }
    if let Some(value) = root.get("socket") {
        value.error(
            report,
            format!("the socket's path has {length} bytes: at most {MAX_SOCKET_PATH} are possible"),
            "write a shorter path, such as \"/run/NAME/splitterd.sock\"",
        );
    }
}

pub(super) fn listen(metrics: &Table<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let value = metrics.get("listen")?;
    let text = value.string(report)?;
    let listen = text.parse().ok();
    if listen.is_none() {
        value.error(
            report,
            format!("`{text}` is not an address and port"),
            "write it like \"127.0.0.1:9901\" or \"[::1]:9901\"",
        );
    }
    listen
}

pub(super) fn limits(table: &Table<'_>, limits: &mut Limits, report: &mut Report<'_>) {
    table.only(
        &["services", "backends", "flows", "new_flows_per_second"],
        &[],
        report,
    );
    for (key, least, most, limit) in [
        ("services", 1, 4_096, &mut limits.services),
        ("backends", 1, 65_535, &mut limits.backends),
        ("flows", 1_000, 64_000_000, &mut limits.flows),
        (
            "new_flows_per_second",
            0,
            1_000_000_000,
            &mut limits.new_flows_per_second,
        ),
    ] {
        let Some(value) = table.get(key) else {
            continue;
        };
        let Some(number) = value.integer(report) else {
            continue;
        };
        match u32::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => *limit = number,
            _ => value.error(
                report,
                format!("{number} is out of bounds: from {least} to {most} are possible"),
                format!("write a number from {least} to {most}"),
            ),
        }
    }
}
