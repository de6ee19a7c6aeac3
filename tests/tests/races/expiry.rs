use anyhow::{Result, ensure};
use lab::rig::{Rig, SMALL, tcp};
use lab::{heavy, soak};
use splitter_ebpf::flow::{ACK, FIN, SYN, State};

use splitter_user::loader::Layout;

use super::{VIP, WEB, client_of, on_two_cpus, plan, runners};

/// Two flows, each on its own CPU, that come out of `FinClient` by their data again and again, while
/// the agent frees what it sees in `FinClient`. A flow that was seen established afterwards may not go.
#[test]
fn expiry_frees_no_flow_that_was_refreshed_since_it_was_looked_at() -> Result<()> {
    let _turn = heavy()?;
    let mut rig = Rig::sized(Layout {
        flow_buckets: 2,
        ..SMALL
    })?;
    let service = rig.serve(&plan("web", &[WEB], &[2]))?;
    let rig = &rig;
    let freed = std::sync::atomic::AtomicUsize::new(0);
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            let client = 7 + u32::try_from(worker.cpu)?;
            let (address, port) = client_of(client);
            let segment = tcp(&format!("{address}:{port}"), WEB);
            let key = rig.key(&segment, service.listeners[0]);
            let state = || {
                let mut state = None;
                rig.tables().scan(0..rig.tables().flow_buckets(), |flow| {
                    if flow.key == key {
                        state = State::from_bits(flow.value.state_bits());
                    }
                });
                state
            };
            for round in 0..soak(3_000, 100_000) {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let backend = worker.send(client, VIP, SYN)?;
                worker.answer(client, backend, SYN | ACK)?;
                worker.send(client, VIP, ACK)?;
                for _ in 0..20 {
                    worker.send(client, VIP, FIN | ACK)?;
                    worker.send(client, VIP, ACK)?;
                    // Data undoes the FIN, unless the flow was freed before or meanwhile.
                    let seen = state();
                    if seen != Some(State::Established) {
                        ensure!(
                            matches!(seen, None | Some(State::New)),
                            "round {round}: {seen:?}"
                        );
                        break;
                    }
                    for _ in 0..3 {
                        ensure!(
                            state() == Some(State::Established),
                            "round {round}: an established flow was freed"
                        );
                    }
                }
            }
            Ok(())
        },
        || {
            for flow in rig.flows() {
                if flow.value.state_bits() == State::FinClient as u8
                    && rig.tables().free_flow(&flow)
                {
                    freed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
            Ok(())
        },
    )?;
    ensure!(
        freed.into_inner() > 0,
        "nothing was ever freed, so nothing was shown"
    );
    Ok(())
}
