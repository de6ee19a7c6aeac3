#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::fd::{FromRawFd, OwnedFd};

use super::{Interface, InterfaceError, XdpMode, addresses, list};
use crate::sandbox::{self, Peer, ip};

#[test]
fn an_interface_is_found_by_its_name_with_what_the_loader_needs() {
    sandbox::network(|| {
        ip("link add front type veth peer name client");
        ip("link set dev front mtu 1400 address 02:00:00:00:00:01 up");
        ip("link set dev client up");
        let front = Interface::find("front").unwrap();
        assert_eq!(front.mac, Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(front.mtu, 1_400);
        assert!(front.running && !front.loopback);
        assert_eq!(front.kind.as_deref(), Some("veth"));
        assert_eq!(front.driver().as_deref(), Some("veth"));
        assert_eq!(front.link, Some(Interface::find("client").unwrap().index));
        assert_eq!(front.xdp, None);
        front.refuse_foreign_program(&[]).unwrap();

        ip("link set dev front down");
        assert!(!Interface::find("front").unwrap().running);
    });
}

#[test]
fn the_far_end_in_another_namespace_has_no_number_here() {
    sandbox::network(|| {
        Peer::new().cable("front", "far");
        assert_eq!(Interface::find("front").unwrap().link, None);
    });
}

#[test]
fn an_unknown_interface_is_refused_with_the_names_there_are() {
    sandbox::network(|| {
        ip("link add front type veth peer name client");
        let error = Interface::find("fornt").unwrap_err();
        assert!(matches!(error, InterfaceError::Unknown { .. }));
        let message = error.to_string();
        for part in ["\"fornt\"", "lo", "front", "client"] {
            assert!(message.contains(part), "{message}");
        }
    });
}

#[test]
fn the_loopback_and_what_carries_no_ethernet_are_refused() {
    sandbox::network(|| {
        assert!(matches!(
            Interface::find("lo"),
            Err(InterfaceError::Loopback { .. })
        ));
        ip("tuntap add dev point mode tun");
        assert!(matches!(
            Interface::find("point"),
            Err(InterfaceError::NotEthernet { .. })
        ));
    });
}

#[test]
fn a_foreign_program_is_refused_with_its_id_and_our_own_is_not() {
    for (flags, mode) in [
        (XDP_FLAGS_DRV, XdpMode::Native),
        (XDP_FLAGS_SKB, XdpMode::Generic),
    ] {
        sandbox::network(|| {
            ip("link add front type veth peer name client");
            let program = pass_program();
            let link = attach(&program, Interface::find("front").unwrap().index, flags);
            let front = Interface::find("front").unwrap();
            let xdp = front.xdp.unwrap();
            assert_eq!(xdp.mode, mode);
            assert_ne!(xdp.program_id, 0);
            front
                .refuse_foreign_program(&[1_000_000, xdp.program_id])
                .unwrap();
            let message = front
                .refuse_foreign_program(&[1_000_000])
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(&format!("id {}", xdp.program_id)),
                "{message}"
            );
            drop(link);
        });
    }
}

#[test]
fn addresses_are_listed_with_their_prefixes() {
    sandbox::network(|| {
        ip("link add front type veth peer name client");
        ip("addr add 198.18.1.1/24 dev front");
        ip("addr add 198.18.9.1 peer 198.18.9.2/32 dev front");
        ip("addr add 2001:db8:1::1/64 dev front nodad");
        let front = Interface::find("front").unwrap().index;
        let mut found: Vec<_> = addresses()
            .unwrap()
            .into_iter()
            .filter(|address| address.index == front)
            .collect();
        found.sort_by_key(|address| address.address);
        let found: Vec<_> = found
            .iter()
            .map(|address| (address.address.to_string(), address.prefix))
            .collect();
        let expected = [
            ("198.18.1.1", 24),
            ("198.18.9.1", 32),
            ("2001:db8:1::1", 64),
        ];
        assert_eq!(
            found,
            expected.map(|(address, prefix)| (address.to_owned(), prefix))
        );
    });
}

#[test]
fn many_interfaces_are_all_listed() {
    sandbox::network(|| {
        for number in 0..100 {
            ip(&format!("link add a{number} type veth peer name b{number}"));
        }
        assert_eq!(list().unwrap().len(), 201);
    });
}

const XDP_FLAGS_SKB: u32 = 1 << 1;
const XDP_FLAGS_DRV: u32 = 1 << 2;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;

/// The start of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct Load {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u64; 3],
    name: [u64; 2],
}

/// `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct Link {
    program: i32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// An XDP program of two instructions: r0 = XDP_PASS; exit.
fn pass_program() -> OwnedFd {
    let code: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
    let load = Load {
        program_type: BPF_PROG_TYPE_XDP,
        instructions: 2,
        code: code.as_ptr().addr().try_into().unwrap(),
        license: c"GPL".as_ptr().addr().try_into().unwrap(),
        log: [0; 3],
        name: [0; 2],
    };
    bpf(BPF_PROG_LOAD, &load)
}

fn attach(program: &OwnedFd, interface: u32, flags: u32) -> OwnedFd {
    use std::os::fd::AsRawFd;
    bpf(
        BPF_LINK_CREATE,
        &Link {
            program: program.as_raw_fd(),
            interface,
            attach_type: BPF_XDP,
            flags,
        },
    )
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> OwnedFd {
    // SAFETY: `attributes` is as long as is said, and what it points to outlives the call; the answer is a descriptor
    // that nobody else has.
    unsafe {
        let answer = libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        );
        assert!(
            answer >= 0,
            "bpf (run as root, or cargo xtask test): {}",
            std::io::Error::last_os_error()
        );
        OwnedFd::from_raw_fd(answer.try_into().unwrap())
    }
}
