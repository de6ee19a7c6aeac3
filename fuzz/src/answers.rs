//! What senders are told.

use splitter_ebpf::answer::{Answer, Cause, Roomy, write};
use splitter_ebpf::headers::{ETHERNET, ICMP_HEADER, IPV4, IPV6};
use splitter_ebpf::verdict::{Action, Reason};
use splitter_ebpf::wire::{Family, TCP};

use crate::sums;

/// Room before a frame, as a driver leaves it, and more than any answer takes.
const ROOM: usize = 64;

/// Whatever a frame is answered with is whole, right, for its sender, and answered by nobody.
pub fn answers(data: &[u8]) {
    let Some((orders, frame)) = data.split_at_checked(3) else {
        return;
    };
    let mut told = Reason::ALL
        .iter()
        .filter(|reason| reason.action() == Action::Answer);
    let count = told.clone().count();
    let Some(reason) = told.nth(usize::from(orders[0]) % count) else {
        return;
    };
    let mtu = u16::from_be_bytes([orders[1], orders[2]]);
    let mut bytes = vec![0; ROOM];
    bytes.extend(frame);
    let mut packet = Roomy::new(&mut bytes, ROOM);
    let Some(cause) = Cause::of(&packet) else {
        return;
    };
    assert!(cause.end <= frame.len() && cause.l4 < cause.end);
    let Some(answer) = Answer::of(*reason, &cause, mtu) else {
        return;
    };
    if !write(&mut packet, &cause, answer, None) {
        return;
    }
    let answered = packet.frame().to_vec();
    assert_eq!(
        answered[..6],
        frame[6..12],
        "to the MAC address it came from"
    );
    let (ip, source, size, most) = match cause.family {
        Family::V4 => (IPV4, ETHERNET + 12, 4, 576),
        Family::V6 => (IPV6, ETHERNET + 8, 16, 1280),
    };
    assert_eq!(
        answered[source + size..source + 2 * size],
        frame[source..source + size],
        "to its sender"
    );
    match answer {
        Answer::Reset => {
            assert_eq!(answered.len(), ETHERNET + ip + 20);
            assert_eq!(sums::right(&answered, cause.family, TCP), [true; 2]);
        }
        Answer::Error(_) => {
            let quoted = &answered[ETHERNET + ip + ICMP_HEADER..];
            assert!(answered.len() <= ETHERNET + most);
            assert_eq!(
                quoted,
                &frame[ETHERNET..ETHERNET + quoted.len()],
                "as it came"
            );
            assert_eq!(sums::icmp_is_right(&answered, cause.family), [true; 2]);
        }
    }
    let mut again = answered;
    let packet = Roomy::new(&mut again, 0);
    if let Some(cause) = Cause::of(&packet) {
        let answer = Answer::of(Reason::NoBackendReset, &cause, 0);
        assert_eq!(answer, None, "a RST gets no RST");
    }
}
