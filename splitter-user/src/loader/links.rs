//! Links between the program and interfaces: made, given another program, pinned, ended.

use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode as Ask};
use aya::programs::{ProgramError, Xdp};

use super::attach::{AttachError, Mode};
use super::pins::pin_name;
use crate::dataplane::detach_link;
use crate::interface::Interface;

/// A link of `program` to an interface that carries none.
///
/// # Errors
/// [`AttachError::Refused`], [`AttachError::NotALink`].
pub(super) fn create(
    program: &mut Xdp,
    interface: &Interface,
    ask: Ask,
    mode: Mode,
) -> Result<FdLink, AttachError> {
    let refused = |error: ProgramError| AttachError::Refused {
        interface: interface.name.clone(),
        mode,
        message: with_cause(&error),
    };
    let id = program
        .attach_to_if_index(interface.index, ask)
        .map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|_| AttachError::NotALink {
        interface: interface.name.clone(),
    })
}

/// The new program takes the place of the old one.
///
/// # Errors
/// [`AttachError::Refused`]; the old one goes on.
pub(super) fn replace(
    program: &mut Xdp,
    link: FdLink,
    interface: &str,
    mode: Mode,
) -> Result<(), AttachError> {
    let refused = |message: String| AttachError::Refused {
        interface: interface.to_owned(),
        mode,
        message,
    };
    let link = XdpLink::try_from(link).map_err(|error: LinkError| refused(error.to_string()))?;
    let id = program
        .attach_to_link(link)
        .map_err(|error| refused(with_cause(&error)))?;
    // The link's owner is its pin, not this program.
    program
        .take_link(id)
        .map_err(|error| refused(with_cause(&error)))?;
    Ok(())
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_cause(cause)),
        None => error.to_string(),
    }
}

/// The program that the link pinned at `path` carries, by number.
pub(crate) fn pinned_program(path: &Path) -> Option<u32> {
    Some(pinned(path)?.info().ok()?.program_id())
}

/// The link pinned at `path`.
pub(super) fn pinned(path: &Path) -> Option<FdLink> {
    path.exists()
        .then(|| PinnedLink::from_pin(path).ok().map(FdLink::from))
        .flatten()
}

/// Takes the program of a pinned link off its interface, and the pin away.
pub(crate) fn end_link(path: &Path) -> std::io::Result<()> {
    if let Err(error) = detach_link(path) {
        // Its interface may be gone, and the link with it; the pin goes in any case.
        tracing::debug!(path = %path.display(), %error, "cannot end a link");
    }
    fs::remove_file(path)
}

/// Ends the links that are pinned in `links`, but for those of the interfaces `keep`.
pub(super) fn detach_others(links: &Path, keep: &[String]) {
    let Ok(entries) = fs::read_dir(links) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !keep.iter().any(|kept| pin_name(kept) == name) {
            tracing::info!(
                interface = name,
                "detaching: the configuration no longer names it"
            );
            if let Err(error) = end_link(&entry.path()) {
                tracing::warn!(interface = name, %error, "cannot remove the pin of its link");
            }
        }
    }
}
