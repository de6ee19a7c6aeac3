//! The kernel's version.

use super::HostError;

/// The oldest kernel that the project is tested on.
pub const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// The running kernel, as `uname -r` says it.
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Refuses a kernel older than [`OLDEST_KERNEL`].
pub fn check_kernel(release: &str) -> Result<(), HostError> {
    match version(release) {
        Some(version) if version >= OLDEST_KERNEL => Ok(()),
        Some(_) => Err(HostError::OldKernel {
            release: release.to_owned(),
        }),
        None => Err(HostError::OddKernel {
            release: release.to_owned(),
        }),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::check_kernel;

    #[test]
    fn kernels_from_the_oldest_on_are_accepted() {
        for release in [
            "6.1.0",
            "6.1",
            "6.1-rc3",
            "6.12.9-amd64",
            "6.18.44-custom",
            "7.0.1",
            "10.0.0+",
        ] {
            assert!(check_kernel(release).is_ok(), "{release}");
        }
    }

    #[test]
    fn older_and_odd_kernels_are_refused_with_what_is_needed() {
        for release in ["6.0.19", "5.15.0-101-generic", "4.18.0", "6", "six.one", ""] {
            let message = check_kernel(release).expect_err(release).to_string();
            assert!(
                message.contains(release) && message.contains("needs 6.1 or newer"),
                "{message}"
            );
        }
    }
}
