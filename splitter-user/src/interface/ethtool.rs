//! The questions to a driver that have no answer in the routing socket. `/sys/class/net` would show another network
//! namespace's interfaces to a process that changed its own.

use std::ffi::c_char;
use std::io;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: u16 = 0x8946;
/// `ETHTOOL_GDRVINFO` of linux/ethtool.h.
const GET_DRIVER: u32 = 0x03;
/// `ETHTOOL_GGRO`.
const GET_GRO: u32 = 0x2b;

/// `ETHTOOL_GFLAGS`.
const GET_FLAGS: u32 = 0x25;
/// `ETH_FLAG_RXVLAN`.
const STRIPS_TAGS: u32 = 1 << 8;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

pub(super) fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        command: GET_DRIVER,
        driver: [0; 32],
        rest: [0; 160],
    };
    // SAFETY: the kernel writes a `struct ethtool_drvinfo`, which is what `DriverInfo` is.
    unsafe { ask(interface, &mut info) }?;
    let name = info
        .driver
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

pub(super) fn gro(interface: &str) -> io::Result<bool> {
    Ok(value(interface, GET_GRO)? != 0)
}

pub(super) fn strips_tags(interface: &str) -> io::Result<bool> {
    Ok(value(interface, GET_FLAGS)? & STRIPS_TAGS != 0)
}

fn value(interface: &str, command: u32) -> io::Result<u32> {
    let mut value = Value { command, data: 0 };
    // SAFETY: the kernel writes a `struct ethtool_value`, which is what `Value` is.
    unsafe { ask(interface, &mut value) }?;
    Ok(value.data)
}

/// # Safety
/// `T` has to be the structure of its own command, whole.
unsafe fn ask<T>(interface: &str, question: &mut T) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: std::ptr::from_mut(question).cast::<c_char>(),
        },
    };
    if interface.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `request` is a valid ifreq with a name that ends in zero; its data pointer is to the structure that the
    // caller vouches for, and both outlive the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL.into(), &raw mut request) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
