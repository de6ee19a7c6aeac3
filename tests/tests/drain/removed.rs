//! Flows of what was removed: left alone until the deadline, and told then.

use std::time::Duration;

use anyhow::Result;
use lab::{Idle, IdleEnd, SOON, Site, await_until};

use super::closing::{dumb, dumb_at, dumb_service, resets};

/// Longest time from one end that is told to the next.
const PATIENCE: Duration = Duration::from_secs(15);

/// Flows of blue's backend at `address`, `None` if it is not there any more.
fn flows_at(site: &Site, address: &str) -> Option<usize> {
    let service = site.agent.service("dumb").ok()?;
    let backends = service["tracks"][0]["backends"].as_array()?;
    let backend = backends
        .iter()
        .find(|backend| backend["address"] == address)?;
    usize::try_from(backend["flows"].as_u64()?).ok()
}

/// Waits until `count` ends of each side were reset.
fn assert_reset(idle: &Idle, count: usize) -> Result<()> {
    let ended = idle.await_ended(2 * count, PATIENCE)?;
    for end in [IdleEnd::Client, IdleEnd::Backend] {
        assert_eq!(resets(&ended, end), count, "{end:?}");
    }
    Ok(())
}

#[test]
fn at_the_deadline_of_a_removed_backend_its_idle_connections_close_and_both_ends_learn_it()
-> Result<()> {
    const COUNT: usize = 200;
    let (gone, stays) = ("198.18.2.11", "198.18.2.12");
    let (weights, drain) = ([("blue", "100%")], "drain: {timeout: 4s}");
    let site = dumb(&weights, drain)?;
    let from = site.hosts.add_clients(2)?;
    let (client, backends) = (&site.hosts.client, &site.hosts.backends);
    let idle = Idle::open(client, backends, &dumb_at(), &from, COUNT)?;
    await_until(SOON, "all flows in the count", || {
        let both = flows_at(&site, gone).zip(flows_at(&site, stays));
        both.is_some_and(|(gone, stays)| gone + stays == COUNT)
    })?;
    let count = flows_at(&site, gone).unwrap_or(0);
    assert!((1..COUNT).contains(&count), "{count}");

    let yaml = dumb_service(&weights, drain).to_yaml();
    let kept: Vec<&str> = yaml.lines().filter(|line| !line.contains(gone)).collect();
    site.agent.apply_yaml(&kept.join("\n"))?.succeeded()?;
    assert!(
        idle.next(Duration::from_millis(2_500)).is_none(),
        "before the deadline"
    );
    assert_reset(&idle, count)?;
    await_until(SOON, "its entry to be gone", || {
        flows_at(&site, gone).is_none() && flows_at(&site, stays).is_some()
    })?;
    assert!(
        idle.next(Duration::from_millis(500)).is_none(),
        "the other backend's live"
    );
    Ok(())
}

#[test]
fn delete_now_resets_idle_connections_and_both_ends_learn_it() -> Result<()> {
    const COUNT: usize = 40;
    let site = dumb(&[("blue", "100%")], "drain: {timeout: 10m}")?;
    let from = site.hosts.add_clients(2)?;
    let (client, backends) = (&site.hosts.client, &site.hosts.backends);
    let idle = Idle::open(client, backends, &dumb_at(), &from, COUNT)?;
    site.agent.ctl("delete service dumb")?.succeeded()?;
    assert!(
        idle.next(Duration::from_millis(1_500)).is_none(),
        "without --now they live"
    );
    site.agent.ctl("delete service dumb --now")?.succeeded()?;
    assert_reset(&idle, COUNT)?;
    await_until(SOON, "the service to be gone", || {
        site.agent.service("dumb").is_err()
    })
}
