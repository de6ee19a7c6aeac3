use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;

use super::format::{Detail, Paint, View};
use super::{DONE, Failure, Outcome, PERSON_NEEDED, Session};
use crate::backend_setup::{
    Change, Decapsulation, Item, Mode, Need, Record, State, Wish, apply, hints, plan, read,
};
use crate::decap::{AttachMode, Pinned, default_sources, parse_source};

/// Print or do what a backend's host needs for its mode; needs no agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it on the backend's host. It prints shell commands with their reasons, and changes nothing; with --apply it does what differs,
each change written down first, and --undo takes back what --apply did. Doing it twice changes nothing more.

  dsr-l2   VIP on the loopback, no ARP for it, reverse-path filter not strict
  ipip     the same, smaller segments announced (advmss) and packets taken out of their tunnel
  dnat     answers go by the balancer: checked only
  fullnat  nothing

Examples:
  splitterctl backend-setup --mode dsr-l2 --vip 198.18.1.100,2001:db8:1::100
  splitterctl backend-setup --mode ipip --vip 198.18.1.100 --interface eth0 --source 198.19.0.0/16 --apply
  splitterctl backend-setup --undo

Exit codes: 0 printed, or all is as it should be; 1 refused or failed; 5 something is left for a person.")]
pub struct Args {
    /// How the backend's services are forwarded
    #[arg(long, value_enum, required_unless_present = "undo")]
    mode: Option<Mode>,
    /// What clients dial; several are parted by commas or given one by one
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    vip: Vec<IpAddr>,
    /// Where packets of balancers come in; without it: where routes lead to --balancer, or to everywhere
    #[arg(long, value_name = "DEV")]
    interface: Option<String>,
    /// ipip: where tunnels may begin, the balancers' `[tunnel]` outer_source_v4 and outer_source_v6
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', value_parser = parse_source,
        default_values_t = default_sources())]
    source: Vec<IpNet>,
    /// ipip: where tunnels may end; without it: all addresses of this host but the VIPs
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    address: Vec<IpAddr>,
    /// A balancer's address on this network
    #[arg(long, value_name = "ADDR")]
    balancer: Option<IpAddr>,
    /// Where clients are, if a smaller route than the default one leads back to them
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    clients: Vec<IpNet>,
    /// ipip: octets that an IP packet may have from the balancer to here; without it: the interface's MTU
    #[arg(long, value_name = "OCTETS")]
    mtu: Option<u32>,
    /// ipip: what takes packets out of tunnels: the project's XDP program, the kernel's devices, or something there already
    #[arg(long, value_enum, default_value = "xdp")]
    decapsulation: Decapsulation,
    /// How the XDP program is attached
    #[arg(long, value_enum, default_value = "native")]
    xdp_mode: AttachMode,
    /// Where pins of the XDP program live
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// Parts decapsulators that share a BPF file system
    #[arg(long, default_value = "splitter-decap")]
    name: String,
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Take back what --apply did, where nobody has changed it since
    #[arg(long, conflicts_with = "apply")]
    undo: bool,
    /// Where changes are written down
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/lib/splitter/backend-setup.json"
    )]
    record: PathBuf,
}

/// What was found, and done.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename = "BackendSetup", rename_all = "camelCase")]
struct Report {
    steps: Vec<Step>,
    hints: Vec<String>,
}

/// One thing that a backend needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    what: String,
    why: String,
    state: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    after: String,
    commands: Vec<String>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    /// Nothing had to be done.
    AsItShould,
    /// Printed only.
    ToDo,
    /// Done now.
    Done,
    /// A person has to.
    ByHand,
}

pub fn run(args: &Args, mut session: Session<'_, '_>) -> Outcome {
    if args.undo {
        return undo(args, session);
    }
    let wish = args.wish()?;
    let items = args.plan(&wish)?;
    let hints = hints(&wish, &items);
    let mut steps = Vec::new();
    let outcome: Result<(), Failure> = items.into_iter().try_for_each(|item| {
        let step = if args.apply {
            perform(item, args)?
        } else {
            Step::of(item)
        };
        steps.push(step);
        Ok(())
    });
    let by_hand = steps.iter().any(|step| step.state == Stage::ByHand);
    let report = Report { steps, hints };
    session.show(&report)?;
    // What was done before it failed is shown all the same.
    outcome?;
    if args.apply {
        check(args, &wish)?;
    }
    Ok(if args.apply && by_hand {
        PERSON_NEEDED
    } else {
        DONE
    })
}

/// Reads everything back.
fn check(args: &Args, wish: &Wish) -> Result<(), Failure> {
    let left = args.plan(wish)?;
    let left = left
        .iter()
        .find(|item| matches!(item.need, Need::Change(_)));
    left.map_or(Ok(()), |item| {
        Err(Failure::Refused(format!(
            "{} did not stay as it was made: something else on this host sets it; splitterctl backend-setup --undo takes \
             the rest back",
            item.what
        )))
    })
}

fn undo(args: &Args, mut session: Session<'_, '_>) -> Outcome {
    let mut record = Record::open(&args.record).map_err(refused)?;
    let changes: Vec<Change> = record.changes().iter().rev().cloned().collect();
    if changes.is_empty() {
        let path = args.record.display();
        session
            .around
            .talk(&format!("nothing to take back: {path} records no change"));
        return Ok(DONE);
    }
    let mut steps = Vec::new();
    let outcome: Result<(), Failure> = changes.iter().try_for_each(|made| {
        let back = made.inverse();
        // Read each time: one change may take others with it, as a device does.
        let facts = read(&pinned_of(made, args)).map_err(refused)?;
        let state = match back.state(&facts) {
            State::Before => {
                apply(&back).map_err(refused)?;
                Stage::Done
            }
            State::After => Stage::AsItShould,
            State::Else(now) if now == "not there" => Stage::AsItShould,
            State::Else(now) => {
                steps.push(Step::left(&back, &now));
                return record.strike(made).map_err(refused);
            }
        };
        steps.push(Step::back(&back, state));
        record.strike(made).map_err(refused)
    });
    let left = steps.iter().any(|step| step.state == Stage::ByHand);
    let hints = Vec::new();
    session.show(&Report { steps, hints })?;
    outcome?;
    Ok(if left { PERSON_NEEDED } else { DONE })
}

fn pinned_of(change: &Change, args: &Args) -> Pinned {
    match change {
        Change::Decapsulator { bpffs, name, .. } => Pinned::new(bpffs, name),
        _ => Pinned::new(&args.bpffs, &args.name),
    }
}

/// Makes one change, after writing it down.
fn perform(item: Item, args: &Args) -> Result<Step, Failure> {
    let Need::Change(change) = &item.need else {
        return Ok(Step::of(item));
    };
    let mut record = Record::open(&args.record).map_err(refused)?;
    record.add(change.clone()).map_err(refused)?;
    apply(change).map_err(refused)?;
    let mut step = Step::of(item);
    step.state = Stage::Done;
    Ok(step)
}

fn refused(error: impl std::error::Error) -> Failure {
    Failure::Refused(error.to_string())
}

impl Args {
    fn wish(&self) -> Result<Wish, Failure> {
        let Some(mode) = self.mode else {
            return Err(Failure::Refused("--mode is needed".to_owned()));
        };
        Ok(Wish {
            mode,
            vips: self.vip.clone(),
            interface: self.interface.clone(),
            sources: self.source.clone(),
            addresses: self.address.clone(),
            balancer: self.balancer,
            clients: self.clients.iter().map(IpNet::trunc).collect(),
            mtu: self.mtu,
            decapsulation: self.decapsulation,
            xdp_mode: self.xdp_mode,
            bpffs: self.bpffs.clone(),
            name: self.name.clone(),
        })
    }

    fn plan(&self, wish: &Wish) -> Result<Vec<Item>, Failure> {
        let facts = read(&Pinned::new(&self.bpffs, &self.name)).map_err(refused)?;
        plan(wish, &facts).map_err(refused)
    }
}

impl Step {
    fn of(item: Item) -> Self {
        let Item { what, why, need } = item;
        let (state, before, after, commands) = match need {
            Need::Met(is) => (Stage::AsItShould, None, is, Vec::new()),
            Need::Person(how) => (Stage::ByHand, None, how, Vec::new()),
            Need::Change(change) => {
                let (before, after) = change.sides();
                (Stage::ToDo, Some(before), after, lines(&change))
            }
        };
        Self {
            what,
            why,
            state,
            before,
            after,
            commands,
        }
    }

    fn back(back: &Change, state: Stage) -> Self {
        let (before, after) = back.sides();
        Self {
            what: back.subject(),
            why: "as it was before --apply".to_owned(),
            state,
            before: (state == Stage::Done).then_some(before),
            after,
            commands: if state == Stage::Done {
                lines(back)
            } else {
                Vec::new()
            },
        }
    }

    fn left(back: &Change, now: &str) -> Self {
        let (made, before) = back.sides();
        Self {
            what: back.subject(),
            why: "nobody's change but --apply's is taken back".to_owned(),
            state: Stage::ByHand,
            before: None,
            after: format!("it is {now}, --apply had made it {made}: it was {before} before"),
            commands: lines(back),
        }
    }
}

fn lines(change: &Change) -> Vec<String> {
    change
        .commands()
        .iter()
        .map(|words| words.join(" "))
        .collect()
}

impl View for Report {
    fn text(&self, _: Detail, paint: Paint) -> String {
        let mut text = String::new();
        for step in &self.steps {
            text += &step.text(paint);
        }
        if !self.hints.is_empty() {
            text += "# To have it again after a boot:\n";
        }
        for line in self.hints.iter().flat_map(|hint| hint.lines()) {
            text += &format!("#   {line}\n");
        }
        text
    }
}

impl Step {
    /// Commands as a shell takes them; everything else is comment.
    fn text(&self, paint: Paint) -> String {
        let Self {
            what, why, after, ..
        } = self;
        let change = match &self.before {
            Some(before) => format!("{before} -> {after}"),
            None => after.clone(),
        };
        let mark = match self.state {
            Stage::AsItShould => paint.good("ok     "),
            Stage::ToDo => paint.notable("to do  "),
            Stage::Done => paint.good("done   "),
            Stage::ByHand => paint.bad("BY HAND"),
        };
        let mut text = format!("# {mark} {what}: {change}\n");
        if self.state != Stage::AsItShould {
            text += &format!("#         {why}\n");
        }
        for command in &self.commands {
            // Those that were run are no invitation to run them again.
            let comment = if self.state == Stage::ToDo {
                ""
            } else {
                "#         "
            };
            text += &format!("{comment}{command}\n");
        }
        text
    }
}
