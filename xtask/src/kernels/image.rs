//! What a guest starts with: the tests, the programs they call with their libraries, modules, and a first process that puts it together.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::archive::Archive;
use super::binary::TestBinary;
use super::debian::Kernel;
use super::modules;
use crate::workspace;

/// Programs of this machine that tests call.
const PROGRAMS: [&str; 4] = ["sh", "ip", "ethtool", "nginx"];

/// The project's own programs that tests call, from where the build leaves them.
const OWN: [&str; 2] = ["splitterd", "splitterctl"];

/// Where the tests look for those, and the tests themselves, one level deeper.
const BUILD: &str = "target/debug";

/// Programs that busybox is, too, where this machine's are not taken.
const APPLETS: [&str; 14] = [
    "cat", "cut", "echo", "grep", "head", "insmod", "ls", "mkdir", "mount", "poweroff", "sleep",
    "stty", "tail", "uname",
];

const INIT: &[u8] = include_bytes!("init.sh");

/// Makes the archive that a kernel unpacks as its first file system. `tools` are folders of unpacked packages.
pub fn make(
    kernel: &Kernel,
    tools: &[PathBuf],
    binary: &TestBinary,
    tests: &[String],
) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["bin", "sbin", "lib", "lib64"] {
        archive.link(Path::new(name), &format!("usr/{name}"));
    }
    for name in ["dev", "proc", "root", "run", "sys", "tmp"] {
        archive.folder(Path::new(name));
    }
    archive.file(Path::new("init"), INIT);
    archive.file(Path::new("tests"), tests.join("\n").as_bytes());
    archive.file(Path::new("etc/passwd"), b"root::0:0:root:/root:/bin/sh\n");
    archive.file(Path::new("etc/group"), b"root::0:\n");
    program(
        &mut archive,
        &binary.path,
        &Path::new(BUILD).join("deps/all"),
    )?;
    for name in OWN {
        let path = workspace::target_dir()?.join("debug").join(name);
        program(&mut archive, &path, &Path::new(BUILD).join(name))?;
    }
    for name in PROGRAMS {
        let path = workspace::find_program(name).with_context(|| format!("{name} is not there"))?;
        program(&mut archive, &path, &Path::new("usr/bin").join(name))?;
    }
    for tool in tools {
        tree(&mut archive, tool, tool)?;
    }
    for name in APPLETS {
        archive.link(&Path::new("usr/bin").join(name), "busybox");
    }
    let busybox = tools.iter().map(|tool| tool.join("bin/busybox"));
    let busybox = busybox.into_iter().find(|path| path.is_file());
    let busybox = busybox.context("the package busybox-static has no bin/busybox")?;
    let mut order = String::new();
    for module in modules::collect(&kernel.modules, &busybox)? {
        let path = Path::new("modules").join(format!("{}.ko", module.name));
        archive.file(&path, &module.content);
        order.push_str(&module.name);
        order.push('\n');
    }
    archive.file(Path::new("modules/order"), order.as_bytes());
    Ok(archive.finish())
}

/// A program of this machine as `name`, and the libraries that it loads.
fn program(archive: &mut Archive, path: &Path, name: &Path) -> Result<()> {
    archive.file(name, &read(path)?);
    let output = Command::new("ldd").arg(path).output();
    let output = output.context("cannot run ldd, which names a program's libraries")?;
    if !output.status.success() {
        bail!("ldd cannot read {}", path.display());
    }
    let libraries = String::from_utf8_lossy(&output.stdout).into_owned();
    for library in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        archive.file(&place(Path::new(library)), &read(Path::new(library))?);
    }
    Ok(())
}

/// Programs and libraries of an unpacked package.
fn tree(archive: &mut Archive, root: &Path, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let inside = path.strip_prefix(root)?;
        if inside.starts_with("usr/share") || inside.starts_with("etc") {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tree(archive, root, &path)?;
        } else if kind.is_symlink() {
            archive.link(&place(inside), &fs::read_link(&path)?.to_string_lossy());
        } else {
            archive.file(&place(inside), &read(&path)?);
        }
    }
    Ok(())
}

/// Where a file goes: `/bin` and its like are links to folders in `/usr`.
fn place(path: &Path) -> PathBuf {
    let inside: PathBuf = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    if inside.starts_with("usr") {
        inside
    } else {
        Path::new("usr").join(inside)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_below_usr() {
        for (path, there) in [
            (
                "/lib64/ld-linux-x86-64.so.2",
                "usr/lib64/ld-linux-x86-64.so.2",
            ),
            ("sbin/ipvsadm", "usr/sbin/ipvsadm"),
            (
                "usr/lib/x86_64-linux-gnu/a.so",
                "usr/lib/x86_64-linux-gnu/a.so",
            ),
        ] {
            assert_eq!(place(Path::new(path)), Path::new(there));
        }
    }
}
