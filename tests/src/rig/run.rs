use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::Command;
use std::{io, ptr};

use anyhow::{Context as _, Result, bail};
use aya::programs::{Xdp, loaded_programs};

/// `XDP_DROP` (include/uapi/linux/bpf.h).
pub const DROP: u32 = 1;
/// `XDP_PASS`.
pub const PASS: u32 = 2;
/// `XDP_TX`.
pub const TX: u32 = 3;
/// `XDP_REDIRECT`.
pub const REDIRECT: u32 = 4;

const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// The part of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C, align(8))]
#[derive(Default)]
struct TestAttr {
    program: u32,
    action: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context: [u32; 2],
    context_data: [u64; 2],
    flags: u32,
    cpu: u32,
    batch: [u32; 2],
}

/// What a test run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The XDP action.
    pub action: u32,
    /// The whole packet, as the program left it.
    pub packet: Vec<u8>,
}

/// A handle on a loaded program, for one thread. aya's own test run needs the loaded object, which
/// whoever drives the tables holds.
#[derive(Debug)]
pub struct Runner(OwnedFd);

impl Runner {
    /// A handle on a loaded program.
    ///
    /// # Errors
    /// If there are no more file descriptors.
    pub fn of(program: &Xdp) -> Result<Self> {
        Ok(Self(program.fd()?.as_fd().try_clone_to_owned()?))
    }

    /// A handle on the program that is attached to an interface of this thread's network.
    ///
    /// # Errors
    /// If there is none, and what the kernel says.
    pub fn attached_to(interface: &str) -> Result<Self> {
        let output = Command::new("ip")
            .args(["-json", "link", "show", "dev", interface])
            .output()
            .context("run ip(8)")?;
        let links: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("ip(8) on {interface}"))?;
        let id = links[0]["xdp"]["prog"]["id"].as_u64();
        let id = id.with_context(|| format!("no XDP program is attached to {interface}"))?;
        for program in loaded_programs() {
            let program = program?;
            if u64::from(program.id()) == id {
                return Ok(Self(program.fd()?.as_fd().try_clone_to_owned()?));
            }
        }
        bail!("the XDP program {id} of {interface} is gone")
    }

    /// Another handle on the same program.
    ///
    /// # Errors
    /// As for [`Runner::of`].
    pub fn again(&self) -> Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// One packet through the program.
    ///
    /// # Errors
    /// What the kernel says; it refuses packets shorter than an Ethernet header.
    pub fn run(&self, packet: &[u8]) -> Result<Outcome> {
        let mut outcome = Outcome {
            action: 0,
            packet: Vec::new(),
        };
        self.run_into(packet, &mut outcome)?;
        Ok(outcome)
    }

    /// One packet through the program, into an outcome whose memory is used again.
    ///
    /// # Errors
    /// As for [`Runner::run`].
    pub fn run_into(&self, packet: &[u8], outcome: &mut Outcome) -> Result<()> {
        outcome.packet.resize(packet.len() + 64, 0);
        let attr = self.call(packet, Some(&mut outcome.packet), 1)?;
        outcome.action = attr.action;
        outcome.packet.truncate(attr.size_out as usize);
        Ok(())
    }

    /// The packet `count` times through the program, which meets what it left the time before.
    /// Returns the last action.
    ///
    /// # Errors
    /// As for [`Runner::run`].
    pub fn repeat(&self, packet: &[u8], count: u32) -> Result<u32> {
        Ok(self.call(packet, None, count)?.action)
    }

    fn call(&self, packet: &[u8], out: Option<&mut Vec<u8>>, repeat: u32) -> Result<TestAttr> {
        let size = |bytes: usize| u32::try_from(bytes).context("a packet of more than 4 GiB");
        let (size_out, data_out) = match out {
            Some(out) => (size(out.len())?, out.as_mut_ptr().addr() as u64),
            None => (0, 0),
        };
        let mut attr = TestAttr {
            program: u32::try_from(self.0.as_raw_fd())?,
            size_in: size(packet.len())?,
            size_out,
            data_in: packet.as_ptr().addr() as u64,
            data_out,
            repeat,
            ..TestAttr::default()
        };
        // SAFETY: `attr` is the kernel's structure for this command, and the buffers that it names
        // have the sizes it names and outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_TEST_RUN,
                ptr::from_mut(&mut attr),
                size_of::<TestAttr>(),
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error()).context("BPF_PROG_TEST_RUN");
        }
        Ok(attr)
    }
}
