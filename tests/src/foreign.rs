//! An XDP program that is not ours, on an interface of the lab.

use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::namespace::Namespace;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;

/// `r0 = XDP_PASS; exit`, as the kernel's instruction words.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];

/// The head of the kernel's `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
}

/// The head of the kernel's `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// An attached XDP program that passes everything; detached on drop.
#[derive(Debug)]
pub struct ForeignXdp {
    _link: OwnedFd,
}

impl ForeignXdp {
    /// Attaches it to `interface` of `namespace`.
    pub fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        let program = load().context("cannot load an XDP program of two instructions")?;
        let link = namespace
            .enter(|| attach(&program, interface))
            .with_context(|| format!("cannot attach an XDP program to {interface}"))?;
        Ok(Self { _link: link })
    }
}

fn load() -> std::io::Result<OwnedFd> {
    bpf(
        BPF_PROG_LOAD,
        &ProgramLoad {
            program_type: BPF_PROG_TYPE_XDP,
            instruction_count: 2,
            instructions: PASS.as_ptr().expose_provenance() as u64,
            license: c"GPL".as_ptr().expose_provenance() as u64,
        },
    )
}

fn attach(program: &OwnedFd, interface: &str) -> Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let interface = rustix::net::netdevice::name_to_index(&socket, interface)?;
    let program = u32::try_from(program.as_raw_fd())?;
    Ok(bpf(
        BPF_LINK_CREATE,
        &LinkCreate {
            program,
            interface,
            attach_type: BPF_XDP,
            flags: 0,
        },
    )?)
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> std::io::Result<OwnedFd> {
    // SAFETY: `attributes` is a `repr(C)` prefix of the kernel's union without padding, passed with its own size; what
    // it points to is static.
    let descriptor = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    let descriptor = i32::try_from(descriptor).unwrap_or(-1);
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
