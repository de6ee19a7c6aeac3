//! The program on its interfaces, by links that are pinned and outlive the agent.
//!
//! What may fail comes first: links to interfaces that carry none, or carry the program in another mode. A start that
//! fails there takes back the links that it made, and the old program goes on everywhere else.

use std::path::{Path, PathBuf};

use aya::programs::Xdp;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpMode as Ask;

use super::links::{create, detach_others, end_link, pinned, pinned_program, replace};
use super::object::LoadError;
use super::pins::pin_name;
use crate::dataplane::kernel::Kernel;
use crate::interface::{Interface, InterfaceError, XdpMode};

/// How the operator wants the program attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, or not at all.
    Native,
    /// In the stack.
    Generic,
    /// In the driver if it can, else in the stack.
    Auto,
}

/// Where the program belongs, and where its links are pinned.
#[derive(Debug, Clone)]
pub struct Placement {
    links: PathBuf,
    interfaces: Vec<String>,
    mode: Mode,
}

/// An interface that carries the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// How it is attached.
    pub mode: XdpMode,
}

/// What has become of interfaces that came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Again {
    /// Those that carry the program again.
    pub attached: Vec<Attached>,
    /// Why others do not.
    pub failed: Vec<String>,
}

/// Why the program is not on an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The interface itself.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The kernel refused.
    #[error(
        "cannot attach XDP to {interface} in {mode:?} mode: {message}; a driver without native XDP needs \
         the mode \"generic\" or \"auto\""
    )]
    Refused {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: Mode,
        /// What it said.
        message: String,
    },
    /// The kernel gave no link that can be pinned.
    #[error(
        "{interface} takes XDP only by netlink, which cannot outlive the agent; a kernel from 6.1 on has BPF links"
    )]
    NotALink {
        /// The interface.
        interface: String,
    },
    /// A pin.
    #[error("cannot change the pin of the link of {interface} at {path}: {message}")]
    Pin {
        /// The interface.
        interface: String,
        /// Where.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The program is not in the object.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Puts the program on exactly these interfaces: attaches to those that do not carry it, takes over the links that are
/// pinned in `links` (the new program replaces the old one between two packets), and takes it off those that are no
/// longer named. `settle` writes what the new program goes by, as late as can be where an old one runs.
///
/// # Errors
/// [`AttachError`] of the first interface that fails. Links that were made are gone again then, and what carried a
/// program goes on.
pub fn attach(
    kernel: &mut Kernel,
    links: &Path,
    interfaces: &[String],
    mode: Mode,
    settle: impl FnOnce(&mut Kernel),
) -> Result<Vec<Attached>, AttachError> {
    let runs = look_at(links, interfaces)?
        .iter()
        .any(|interface| pinned(&links.join(pin_name(&interface.name))).is_some());
    let settle = |kernel: &mut Kernel| {
        settle(kernel);
        kernel.install_stages()
    };
    let attached = if runs {
        let attaching = Attaching::begin(kernel.program()?, links, interfaces, mode)?;
        settle(kernel)?;
        attaching.finish(kernel.program()?)?
    } else {
        settle(kernel)?;
        attach_program(kernel.program()?, links, interfaces, mode)?
    };
    let placement = Placement {
        links: links.to_owned(),
        interfaces: interfaces.to_owned(),
        mode,
    };
    kernel.belong(placement);
    Ok(attached)
}

/// The same for any program.
///
/// # Errors
/// As for [`attach`].
pub fn attach_program(
    program: &mut Xdp,
    links: &Path,
    interfaces: &[String],
    mode: Mode,
) -> Result<Vec<Attached>, AttachError> {
    Attaching::begin(program, links, interfaces, mode)?.finish(program)
}

/// Puts the program on those interfaces of `placement` that are there and do not carry it: they have gone and come
/// back. One that fails keeps no other from its program.
pub(crate) fn attach_again(program: &mut Xdp, placement: &Placement) -> Again {
    let mut again = Again::default();
    for name in &placement.interfaces {
        match attach_back(program, placement, name) {
            Ok(attached) => again.attached.extend(attached),
            Err(error) => again.failed.push(error.to_string()),
        }
    }
    again
}

fn attach_back(
    program: &mut Xdp,
    placement: &Placement,
    name: &str,
) -> Result<Option<Attached>, AttachError> {
    let interface = match Interface::find(name) {
        Ok(interface) => interface,
        Err(InterfaceError::Unknown { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let ours = pinned_program(&placement.links.join(pin_name(name)));
    if ours.is_some() && interface.xdp.map(|xdp| xdp.program_id) == ours {
        return Ok(None);
    }
    interface.refuse_foreign_program(&[])?;
    attach_one(program, &placement.links, interface, placement.mode).map(Some)
}

/// The interfaces, none of which carries a program that is not one of `links`.
///
/// # Errors
/// [`AttachError::Interface`] of the first that is not there, or carries another program.
pub fn look_at(links: &Path, interfaces: &[String]) -> Result<Vec<Interface>, AttachError> {
    let found = interfaces
        .iter()
        .map(|name| Interface::find(name))
        .collect::<Result<Vec<_>, _>>()?;
    for interface in &found {
        let ours: Vec<u32> = pinned_program(&links.join(pin_name(&interface.name)))
            .into_iter()
            .collect();
        interface.refuse_foreign_program(&ours)?;
    }
    Ok(found)
}

/// A program on its way to its interfaces: links that were missing are there. Dropped, it takes them back.
struct Attaching<'p> {
    links: &'p Path,
    interfaces: &'p [String],
    mode: Mode,
    /// Links that another program holds.
    kept: Vec<(Attached, FdLink)>,
    attached: Vec<Attached>,
    /// Pins of links to interfaces that carried nothing.
    made: Vec<PathBuf>,
}

impl<'p> Attaching<'p> {
    fn begin(
        program: &mut Xdp,
        links: &'p Path,
        interfaces: &'p [String],
        mode: Mode,
    ) -> Result<Self, AttachError> {
        let mut attaching = Self {
            links,
            interfaces,
            mode,
            kept: Vec::new(),
            attached: Vec::new(),
            made: Vec::new(),
        };
        // All of them are looked at before the first is touched.
        for interface in look_at(links, interfaces)? {
            let path = links.join(pin_name(&interface.name));
            if let Some(kept) = kept(&path, &interface, mode) {
                attaching.kept.push(kept);
                continue;
            }
            let carried = interface.xdp.is_some();
            attaching
                .attached
                .push(attach_one(program, links, interface, mode)?);
            if !carried {
                attaching.made.push(path);
            }
        }
        Ok(attaching)
    }

    fn finish(mut self, program: &mut Xdp) -> Result<Vec<Attached>, AttachError> {
        for (attached, link) in std::mem::take(&mut self.kept) {
            replace(program, link, &attached.name, self.mode)?;
            self.attached.push(attached);
        }
        self.made.clear();
        // Last, so that a failure above takes nothing down.
        detach_others(self.links, self.interfaces);
        Ok(std::mem::take(&mut self.attached))
    }
}

impl Drop for Attaching<'_> {
    fn drop(&mut self) {
        for path in &self.made {
            if let Err(error) = end_link(path) {
                tracing::warn!(path = %path.display(), %error, "cannot take back a link of a start that failed");
            }
        }
    }
}

/// The link of an interface that carries the program as it is asked for.
fn kept(path: &Path, interface: &Interface, mode: Mode) -> Option<(Attached, FdLink)> {
    let link = pinned(path)?;
    let xdp = interface.xdp?;
    let as_asked = match mode {
        Mode::Native => xdp.mode == XdpMode::Native,
        Mode::Generic => xdp.mode == XdpMode::Generic,
        Mode::Auto => true,
    };
    let attached = Attached {
        name: interface.name.clone(),
        index: interface.index,
        mode: xdp.mode,
    };
    as_asked.then_some((attached, link))
}

/// Attaches to an interface that carries nothing, or the program in another mode: then it is put back in that mode if
/// the new one is refused, for an interface takes programs of one mode at a time.
fn attach_one(
    program: &mut Xdp,
    links: &Path,
    interface: Interface,
    mode: Mode,
) -> Result<Attached, AttachError> {
    let path = links.join(pin_name(&interface.name));
    if path.exists() {
        end_link(&path).map_err(|error| AttachError::Pin {
            interface: interface.name.clone(),
            path: path.clone(),
            message: error.to_string(),
        })?;
    }
    let made = create_as_asked(program, &interface, mode)
        .and_then(|(link, mode)| pin(link, &interface, &path).map(|()| mode));
    if made.is_err()
        && let Some(xdp) = interface.xdp
    {
        let ask = match xdp.mode {
            XdpMode::Generic => Ask::Skb,
            XdpMode::Native | XdpMode::Hardware | XdpMode::Several => Ask::Driver,
        };
        let back = create(program, &interface, ask, mode);
        if let Err(error) = back.and_then(|link| pin(link, &interface, &path)) {
            tracing::error!(interface = interface.name, %error, "the program is on this interface no longer");
        }
    }
    Ok(Attached {
        mode: made?,
        name: interface.name,
        index: interface.index,
    })
}

fn create_as_asked(
    program: &mut Xdp,
    interface: &Interface,
    mode: Mode,
) -> Result<(FdLink, XdpMode), AttachError> {
    let native = |program: &mut Xdp| {
        create(program, interface, Ask::Driver, mode).map(|link| (link, XdpMode::Native))
    };
    let generic = |program: &mut Xdp| {
        create(program, interface, Ask::Skb, mode).map(|link| (link, XdpMode::Generic))
    };
    match mode {
        Mode::Native => native(program),
        Mode::Generic => generic(program),
        Mode::Auto => native(program).or_else(|error| {
            tracing::warn!(interface = interface.name, %error, "no native XDP: attaching in generic mode, which is slow");
            generic(program)
        }),
    }
}

fn pin(link: FdLink, interface: &Interface, path: &Path) -> Result<(), AttachError> {
    let pinned = link.pin(path).map_err(|error| AttachError::Pin {
        interface: interface.name.clone(),
        path: path.to_owned(),
        message: error.to_string(),
    });
    pinned.map(drop)
}
