//! Shares of new connections over real TCP.

use anyhow::Result;
use lab::{SOON, Site, Totals, await_until, heavy, soak};

/// Fails unless the share of `track` in `totals` is `percent` within five standard deviations of a fair draw.
#[track_caller]
fn assert_share(totals: &Totals, track: &str, percent: f64) {
    let expected = percent / 100.0;
    let deviation = (expected * (1.0 - expected) / totals.flows() as f64).sqrt();
    let share = totals.share_of(track);
    assert!(
        (share - expected).abs() <= 5.0 * deviation,
        "{track} has {:.2} % of {} new connections, expected are {percent} % +- {:.2}",
        share * 100.0,
        totals.flows(),
        500.0 * deviation
    );
}

#[test]
fn shares_of_new_connections_lie_within_sampling_error() -> Result<()> {
    let _turn = heavy()?;
    let site = Site::web(&[("blue", "90%"), ("green", "7%"), ("canary", "3%")])?;
    let requests = soak(4_000, 40_000) as u64;
    let totals = site
        .load()
        .one_shot(16)
        .requests(requests)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    for (track, percent) in [("blue", 90.0), ("green", 7.0), ("canary", 3.0)] {
        assert_share(&totals, track, percent);
    }
    Ok(())
}

#[test]
fn the_observed_shares_of_the_agent_are_those_that_the_clients_met() -> Result<()> {
    let site = Site::web(&[("blue", "80%"), ("green", "20%")])?;
    let totals = site
        .load()
        .one_shot(8)
        .requests(500)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    let observed = |index: usize| {
        site.agent.service("web").unwrap()["tracks"][index]["observed"]["newFlows"].as_u64()
    };
    await_until(SOON, "the agent to have counted all new flows", || {
        observed(0) == Some(totals.flows_of("blue"))
            && observed(1) == Some(totals.flows_of("green"))
    })
}

#[test]
fn a_shift_changes_the_shares_of_new_connections() -> Result<()> {
    let _turn = heavy()?;
    let site = Site::web(&[("blue", "95%"), ("canary", "5%")])?;
    for percent in [5.0, 25.0, 50.0, 0.1] {
        site.agent
            .change(&format!("set-weight web canary={percent}%"))?;
        let requests = soak(2_000, 20_000) as u64;
        let totals = site
            .load()
            .one_shot(16)
            .requests(requests)
            .run_to_end(&site.hosts.client)?;
        totals.assert_nothing_lost();
        assert_share(&totals, "canary", percent);
    }
    Ok(())
}
