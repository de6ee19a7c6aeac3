//! TCP connections that lose the RSTs which they are sent, as if those got lost on the way.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

/// A connection that is deaf to RSTs until this is dropped.
#[derive(Debug)]
pub struct Deaf(TcpStream);

impl Deaf {
    /// Makes a connection deaf.
    pub fn to_resets(stream: &TcpStream) -> io::Result<Self> {
        let stream = stream.try_clone()?;
        // Classic BPF (socket(7)): byte 13 of a TCP header is its flags; bit 2 is RST.
        let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        let mut steps = [
            step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
            step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, 4),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        ];
        let program = libc::sock_fprog {
            len: 4,
            filter: steps.as_mut_ptr(),
        };
        set(&stream, libc::SO_ATTACH_FILTER, &program)?;
        Ok(Self(stream))
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        // A filter that stays makes the test fail by itself.
        let _stays = set(&self.0, libc::SO_DETACH_FILTER, &0_i32);
    }
}

fn set<T>(stream: &TcpStream, option: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the socket is open, and the kernel reads `length` bytes of a value that outlives the call, and
    // what that points to.
    let done = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
