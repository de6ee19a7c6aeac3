//! Kernel modules: those that tests want, those that these need, in an order in which they load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What tests want. IPVS's schedulers and NAT's connection tracking are modules of their own.
const WANTED: [&str; 8] = [
    "veth",
    "8021q",
    "bonding",
    "ipip",
    "ip6_tunnel",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_sh",
];

/// A module, ready to be loaded.
#[derive(Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its file's content.
    pub content: Vec<u8>,
}

/// Everything wanted and needed, what is needed first. `busybox` unpacks what is compressed.
pub fn collect(folder: &Path, busybox: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut modules = Vec::new();
    for name in WANTED {
        add(name, &files, busybox, &mut modules)?;
    }
    Ok(modules)
}

/// Every module's file below a folder, by the module's name.
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find(&path, files)?;
        } else if let Some((name, "ko" | "ko.xz")) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.split_once('.'))
        {
            files.insert(canonical(name), path);
        }
    }
    Ok(())
}

/// File names may have dashes where the module's name has underscores.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    busybox: &Path,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let name = canonical(name);
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let file = files
        .get(&name)
        .with_context(|| format!("the kernel's package has no module {name}"))?;
    let content = read(file, busybox)?;
    for needed in needs(&content) {
        add(&needed, files, busybox, modules)?;
    }
    modules.push(Module { name, content });
    Ok(())
}

fn read(file: &Path, busybox: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "ko") {
        return Ok(fs::read(file)?);
    }
    let output = Command::new(busybox).arg("xzcat").arg(file).output()?;
    if !output.status.success() {
        bail!("cannot unpack {}: {}", file.display(), output.status);
    }
    Ok(output.stdout)
}

/// What a module says that it needs: `depends=a,b`, a zero before and after.
fn needs(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let start = content.windows(KEY.len()).position(|window| window == KEY);
    let Some(start) = start.map(|start| start + KEY.len()) else {
        return Vec::new();
    };
    let names = content[start..].split(|byte| *byte == 0).next();
    String::from_utf8_lossy(names.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::needs;

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(
            needs(b"\x7fELF\0license=GPL\0depends=stp,llc\0name=x\0"),
            ["stp", "llc"]
        );
        assert!(needs(b"\x7fELF\0license=GPL\0depends=\0name=x\0").is_empty());
        assert!(needs(b"no module").is_empty());
    }
}
