//! The kernel, its compiler for programs, privileges and the BPF file system.

use std::fs;
use std::path::Path;

use super::{Finding, setting};
use crate::host;

pub(super) fn findings(bpffs: &Path) -> Vec<Finding> {
    vec![
        kernel(),
        compiler(setting("core/bpf_jit_enable")),
        privileges(),
        pins(bpffs),
    ]
}

fn kernel() -> Finding {
    let release = host::kernel_release();
    match host::check_kernel(&release) {
        Ok(()) => Finding::good("kernel", release),
        Err(error) => Finding::bad("kernel", error.to_string()),
    }
}

fn compiler(setting: Option<i64>) -> Finding {
    match setting {
        Some(0) => Finding::bad(
            "jit",
            "the kernel interprets BPF programs: every packet costs several times as much",
        )
        .fix("sysctl -w net.core.bpf_jit_enable=1"),
        Some(_) => Finding::good("jit", "the kernel compiles BPF programs"),
        None => Finding::good("jit", "cannot be seen from this network namespace"),
    }
}

fn privileges() -> Finding {
    match host::check_privileges() {
        Ok(()) => Finding::good("privileges", "all that the agent needs"),
        Err(error) => Finding::bad(
            "privileges",
            format!("of this command, which an agent started like it would share: {error}"),
        ),
    }
}

fn pins(path: &Path) -> Finding {
    let shown = path.display();
    let command = format!("mount -t bpf bpf {shown}");
    match host::is_bpffs(path) {
        Ok(true) => Finding::good("bpffs", format!("{shown} is a BPF file system")),
        Ok(false) if is_empty(path) => Finding::good(
            "bpffs",
            format!("nothing is mounted at {shown} yet; the agent mounts a BPF file system there"),
        )
        .fix(command),
        Ok(false) => Finding::bad(
            "bpffs",
            format!(
                "{shown} is no BPF file system and not empty; correct `bpffs` in the configuration"
            ),
        ),
        Err(_) if !path.exists() => Finding::good(
            "bpffs",
            format!("{shown} does not exist yet; the agent makes it and mounts a BPF file system"),
        ),
        Err(error) => Finding::bad("bpffs", error.to_string()),
    }
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::{compiler, pins};

    #[test]
    fn an_interpreting_kernel_is_a_finding() {
        let finding = compiler(Some(0));
        assert!(
            !finding.ok
                && finding
                    .fix
                    .is_some_and(|fix| fix.contains("bpf_jit_enable=1"))
        );
        assert!(compiler(Some(1)).ok && compiler(None).ok);
    }

    #[test]
    fn only_a_directory_that_holds_something_else_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(
            pins(directory.path())
                .fix
                .is_some_and(|fix| fix.starts_with("mount -t bpf"))
        );
        assert!(pins(&directory.path().join("none")).ok);
        std::fs::write(directory.path().join("file"), b"").expect("a file");
        assert!(!pins(directory.path()).ok);
        assert!(!directory.path().join("none").exists());
    }
}
