//! Kernels and programs out of Debian's packages: downloaded by apt, which checks them against the signed lists; unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup;

/// A kernel that is there.
#[derive(Debug)]
pub struct Kernel {
    /// What qemu starts.
    pub image: PathBuf,
    /// The folder that its modules are below.
    pub modules: PathBuf,
}

/// What the guests have besides programs of this machine: a shell's usual programs that need no library, and what sets IPVS up. Not
/// installed: the first would push another busybox out.
const TOOLS: [&str; 5] = [
    "busybox-static",
    "ipvsadm",
    "libnl-3-200",
    "libnl-genl-3-200",
    "libpopt0",
];

/// The folders of the tools' packages.
pub fn tools(folder: &Path) -> Result<Vec<PathBuf>> {
    TOOLS
        .iter()
        .map(|package| unpacked(folder, package))
        .collect()
}

/// The newest kernel of a series, such as 6.1, of those for virtual machines; or the one of the series that is there from an earlier
/// run.
pub fn kernel(folder: &Path, series: &str) -> Result<Kernel> {
    let there = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let package = match newest(series, there) {
        Some(package) => package,
        None => offered(series)?,
    };
    let root = unpacked(folder, &package)?;
    let image = fs::read_dir(root.join("boot"))?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
        .with_context(|| format!("the package {package} has no kernel in boot/"))?;
    Ok(Kernel {
        image: image.path(),
        modules: root.join("lib/modules"),
    })
}

/// The newest package of a series that apt knows.
fn offered(series: &str) -> Result<String> {
    let known = || -> Result<Option<String>> {
        let prefix = format!("linux-image-{series}.");
        let output = Command::new("apt-cache")
            .args(["pkgnames", &prefix])
            .output()
            .context("cannot run apt-cache: kernels come from Debian's packages")?;
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(newest(series, names.lines().map(str::to_owned)))
    };
    if let Some(package) = known()? {
        return Ok(package);
    }
    setup::refresh_lists()?;
    known()?.with_context(|| {
        format!(
            "apt knows no kernel {series} for virtual machines: Debian 12 has it, its security updates among the sources"
        )
    })
}

/// Of packages' names the kernel of a series that has the highest numbers.
fn newest(series: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let rest = |name: &str| -> Option<Vec<u32>> {
        let version = name
            .strip_prefix("linux-image-")?
            .strip_suffix("-cloud-amd64")?;
        let rest = version.strip_prefix(series)?.strip_prefix('.')?;
        rest.split(|character: char| !character.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().ok())
            .collect()
    };
    names
        .filter_map(|name| Some((rest(&name)?, name)))
        .max()
        .map(|(_, name)| name)
}

/// The folder of a package's files, made if it is not there.
fn unpacked(folder: &Path, package: &str) -> Result<PathBuf> {
    let target = folder.join(package);
    if target.is_dir() {
        return Ok(target);
    }
    let fresh = folder.join("fresh");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(fresh.join("files"))?;
    if download(package, &fresh).is_err() {
        // The lists may be older than the servers, or not there at all.
        setup::refresh_lists()?;
        download(package, &fresh)?;
    }
    let archive = fs::read_dir(&fresh)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get has downloaded no package {package}"))?;
    quietly(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(archive)
            .arg(fresh.join("files")),
    )?;
    // Whole, or not there: the name comes last.
    fs::rename(fresh.join("files"), &target)?;
    fs::remove_dir_all(&fresh)?;
    Ok(target)
}

fn download(package: &str, folder: &Path) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet", "--quiet", "download", package])
        // As root apt would switch to a user of its own, who may not write here.
        .args(["--option", "APT::Sandbox::User=root"])
        .current_dir(folder);
    quietly(&mut apt)
}

/// Runs a command; its words count only when it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let text = crate::workspace::written(command);
    let output = command
        .output()
        .with_context(|| format!("cannot run `{text}`: kernels come from Debian's packages"))?;
    if !output.status.success() {
        bail!(
            "`{text}` failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_kernel_of_a_series_is_found_among_flavours_and_series() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64-unsigned",
            "linux-image-6.1.0-58-rt-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.1.0-59-cloud-amd64-dbg",
        ];
        let of = |series| newest(series, names.iter().map(ToString::to_string));
        assert_eq!(of("6.1").as_deref(), Some(names[1]));
        assert_eq!(of("6.12").as_deref(), Some(names[5]));
        assert_eq!(of("6.6"), None);
    }
}
