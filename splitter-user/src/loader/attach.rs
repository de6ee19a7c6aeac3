//! The program on its interfaces, by links that are pinned and outlive the agent.

use std::path::{Path, PathBuf};

use aya::programs::Xdp;
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

/// Puts the program on exactly these interfaces: takes over the links that are pinned in `links`
/// (the new program replaces the old one between two packets), attaches to the others, and takes it
/// off those that are no longer named.
///
/// # Errors
/// [`AttachError`] of the first interface that fails; links made before it stay.
pub fn attach(
    kernel: &mut Kernel,
    links: &Path,
    interfaces: &[String],
    mode: Mode,
) -> Result<Vec<Attached>, AttachError> {
    look_at(links, interfaces)?;
    kernel.install_stages()?;
    let attached = attach_program(kernel.program()?, links, interfaces, mode)?;
    let placement = Placement {
        links: links.to_owned(),
        interfaces: interfaces.to_owned(),
        mode,
    };
    kernel.belong(placement);
    Ok(attached)
}

/// Puts the program on those interfaces of `placement` that are there and do not carry it: they have gone and come
/// back.
///
/// # Errors
/// [`AttachError`] of the first interface that fails.
pub(crate) fn attach_again(
    program: &mut Xdp,
    placement: &Placement,
) -> Result<Vec<Attached>, AttachError> {
    let mut attached = Vec::new();
    for name in &placement.interfaces {
        let path = placement.links.join(pin_name(name));
        let interface = match Interface::find(name) {
            Ok(interface) => interface,
            Err(InterfaceError::Unknown { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let ours = pinned_program(&path);
        if ours.is_some() && interface.xdp.map(|xdp| xdp.program_id) == ours {
            continue;
        }
        interface.refuse_foreign_program(&[])?;
        attached.push(attach_one(
            program,
            &placement.links,
            interface,
            placement.mode,
        )?);
    }
    Ok(attached)
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
    // All of them are looked at before the first is touched.
    let found = look_at(links, interfaces)?;
    let attached = found
        .into_iter()
        .map(|interface| attach_one(program, links, interface, mode))
        .collect::<Result<Vec<_>, _>>()?;
    // Last, so that a failure above takes nothing down.
    detach_others(links, interfaces);
    Ok(attached)
}

fn attach_one(
    program: &mut Xdp,
    links: &Path,
    interface: Interface,
    mode: Mode,
) -> Result<Attached, AttachError> {
    let path = links.join(pin_name(&interface.name));
    if let Some(link) = pinned(&path) {
        let keeps = match (interface.xdp, mode) {
            (None, _) => false,
            (Some(xdp), Mode::Native) => xdp.mode == XdpMode::Native,
            (Some(xdp), Mode::Generic) => xdp.mode == XdpMode::Generic,
            (Some(_), Mode::Auto) => true,
        };
        if keeps && let Some(xdp) = interface.xdp {
            replace(program, link, &interface.name, mode)?;
            return Ok(Attached {
                name: interface.name,
                index: interface.index,
                mode: xdp.mode,
            });
        }
        // The interface was made anew, or is to change its mode.
        drop(link);
        end_link(&path).map_err(|error| AttachError::Pin {
            interface: interface.name.clone(),
            path: path.clone(),
            message: error.to_string(),
        })?;
    }
    let (link, mode) = match mode {
        Mode::Native => (
            create(program, &interface, Ask::Driver, mode)?,
            XdpMode::Native,
        ),
        Mode::Generic => (
            create(program, &interface, Ask::Skb, mode)?,
            XdpMode::Generic,
        ),
        Mode::Auto => match create(program, &interface, Ask::Driver, mode) {
            Ok(link) => (link, XdpMode::Native),
            Err(error) => {
                tracing::warn!(interface = interface.name, %error, "no native XDP: attaching in generic mode, which is slow");
                (
                    create(program, &interface, Ask::Skb, mode)?,
                    XdpMode::Generic,
                )
            }
        },
    };
    link.pin(&path).map_err(|error| AttachError::Pin {
        interface: interface.name.clone(),
        path,
        message: error.to_string(),
    })?;
    Ok(Attached {
        name: interface.name,
        index: interface.index,
        mode,
    })
}
