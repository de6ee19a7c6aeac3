//! Loading the object that the agent carries inside itself.

use std::path::Path;

use aya::maps::{Map, MapData, MapError, ProgramArray};
use aya::programs::{Program, ProgramError, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};

use splitter_ebpf::abi::{ABI_VERSION, Stage};

use super::layout::{Keys, Layout, TickRate};

static OBJECT: &[u8] = include_bytes_aligned!(env!("SPLITTER_XDP_OBJECT"));

/// The object that this agent loads, and the version of its maps' layout.
pub(super) fn edition() -> (&'static [u8], u32) {
    #[cfg(all(feature = "abi-test", debug_assertions))]
    if std::env::var_os("SPLITTER_TEST_ABI").is_some() {
        static OTHER: &[u8] = include_bytes_aligned!(env!("SPLITTER_OTHER_OBJECT"));
        return (OTHER, ABI_VERSION + 1);
    }
    (OBJECT, ABI_VERSION)
}

/// Why the program could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object or its maps.
    #[error(
        "cannot load the XDP program: {0}; `splitterctl doctor` names what is missing on this host"
    )]
    Object(#[from] EbpfError),
    /// The kernel's verifier.
    #[error(
        "the kernel refuses the XDP program: {reason}; kernels from 6.1 on are supported, and this is a bug on any of \
         them. Its verifier's last words:\n{words}"
    )]
    Refused {
        /// What the system call said.
        reason: std::io::Error,
        /// What the verifier said last.
        words: String,
    },
    /// A loaded program, or a test run of it.
    #[error("the kernel refuses to use the XDP program: {0}")]
    Program(ProgramError),
    /// A map.
    #[error("a BPF map is not as expected: {0}")]
    Map(#[from] MapError),
    /// The object lacks a part.
    #[error("the XDP object has no {0}: splitterd was built from mismatched parts, build it anew")]
    Missing(&'static str),
}

/// The object in the kernel.
pub struct Loaded {
    ebpf: Ebpf,
    /// Its sizes.
    pub layout: Layout,
    /// Its clock.
    pub rate: TickRate,
}

/// Loads the programs with maps of `layout`. With `pins`, the maps are pinned in that directory.
///
/// # Errors
/// [`LoadError`]; nothing is attached then.
pub fn load(layout: Layout, secret: &[u8; 32], pins: Option<&Path>) -> Result<Loaded, LoadError> {
    load_object(edition().0, layout, secret, pins)
}

/// Loads the programs over the maps that are pinned in `pins`; the caller vouches that the sizes agree. The
/// later programs of one that runs on these maps are still in their places: see
/// [`Loaded::install_stages`].
///
/// # Errors
/// As for [`load`].
pub fn load_over(layout: Layout, secret: &[u8; 32], pins: &Path) -> Result<Loaded, LoadError> {
    let rate = TickRate::of_this_kernel();
    load_parts(edition().0, layout, secret, Some(pins), rate)
}

/// Loads the programs with maps of `layout`, and with a clock of another rate than this kernel's, for
/// tests that let time pass by themselves.
///
/// # Errors
/// As for [`load`].
pub fn load_at_rate(
    layout: Layout,
    secret: &[u8; 32],
    rate: TickRate,
) -> Result<Loaded, LoadError> {
    let mut loaded = load_parts(OBJECT, layout, secret, None, rate)?;
    loaded.install_stages()?;
    Ok(loaded)
}

/// Loads another build of the object, such as the bench's, which has a driver beside the program.
/// Its bytes are aligned to 32 (`aya::include_bytes_aligned`).
///
/// # Errors
/// As for [`load`].
pub fn load_object(
    object: &[u8],
    layout: Layout,
    secret: &[u8; 32],
    pins: Option<&Path>,
) -> Result<Loaded, LoadError> {
    let rate = TickRate::of_this_kernel();
    let mut loaded = load_parts(object, layout, secret, pins, rate)?;
    loaded.install_stages()?;
    Ok(loaded)
}

fn load_parts(
    object: &[u8],
    layout: Layout,
    secret: &[u8; 32],
    pins: Option<&Path>,
    rate: TickRate,
) -> Result<Loaded, LoadError> {
    let keys = Keys::new(secret);
    let flow_mask = layout.flow_buckets - 1;
    let endpoint_mask = layout.endpoint_buckets - 1;
    let (second, reuse, hop) = (rate.ticks(1000), rate.ticks(60_000), rate.ticks(2000));
    let mut loader = EbpfLoader::new();
    for (name, entries) in layout.entries() {
        loader.map_max_entries(name, entries);
    }
    if let Some(pins) = pins {
        for name in MAPS {
            loader.map_pin_path(name, pins.join(name));
        }
    }
    loader
        .override_global("FLOW_MASK", &flow_mask, true)
        .override_global("ENDPOINT_MASK", &endpoint_mask, true)
        .override_global("TICK_SHIFT", &rate.shift, true)
        .override_global("SECOND_TICKS", &second, true)
        .override_global("REUSE_TICKS", &reuse, true)
        .override_global("HOP_TICKS", &hop, true)
        .override_global("FLOW_SECRET", &keys.flow, true)
        .override_global("FINGERPRINT_KEY", &keys.fingerprint, true)
        .override_global("ENDPOINT_SEED", &keys.endpoint, true);
    let mut ebpf = loader.load(object)?;
    for (_, program) in ebpf.programs_mut() {
        let program: &mut Xdp = program.try_into()?;
        program.load()?;
    }
    Ok(Loaded { ebpf, layout, rate })
}

/// Programs that another one calls, by their place in `STAGES`.
const STAGES: [(Stage, &str); 2] = [
    (Stage::Unusual, "splitter_unusual"),
    (Stage::Answer, "splitter_answer"),
];

/// Every map of the object, by name.
pub const MAPS: [&str; 28] = [
    "PENDING",
    "CONTROL",
    "META",
    "ROWS",
    "SPLITS",
    "TRACKS",
    "ENDPOINT_TAGS",
    "ENDPOINTS",
    "LISTENERS",
    "REPLIES",
    "BACKENDS",
    "FLOWS",
    "FLOW_KEYS",
    "LOCKS",
    "VERDICTS",
    "COUNTERS",
    "CLIENT_HOPS",
    "LEARNED_HOPS",
    "SERVICES",
    "NAT_POOLS",
    "FRAGMENTS",
    "VLAN_DEVICES",
    "BUDGETS",
    "STAGES",
    "PASSED_TAG",
    "PASSED_OUTCOME",
    "REVERSE",
    "WANTED",
];

impl Loaded {
    /// Puts the later programs into their places, where the first one finds them; those of a program that
    /// still runs on taken-over maps are replaced.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn install_stages(&mut self) -> Result<(), LoadError> {
        let mut places = Vec::new();
        for (stage, name) in STAGES {
            let program: &Xdp = self
                .ebpf
                .program(name)
                .ok_or(LoadError::Missing(name))?
                .try_into()?;
            places.push((stage, program.fd()?.try_clone().map_err(MapError::IoError)?));
        }
        let map = self
            .ebpf
            .map_mut("STAGES")
            .ok_or(LoadError::Missing("STAGES"))?;
        let mut array = ProgramArray::try_from(map)?;
        for (stage, program) in places {
            array.set(stage as u32, &program, 0)?;
        }
        Ok(())
    }

    /// One of the object's programs: `splitter`, `splitter_clock` or `splitter_floor`.
    ///
    /// # Errors
    /// [`LoadError::Missing`].
    pub fn program(&mut self, name: &'static str) -> Result<&mut Xdp, LoadError> {
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or(LoadError::Missing(name))?;
        Ok(program.try_into()?)
    }

    /// Every program of the object with its name, in no order.
    ///
    /// # Errors
    /// Each item's: a program that is no XDP program.
    pub fn programs(&self) -> impl Iterator<Item = Result<(&str, &Xdp), LoadError>> {
        self.ebpf.programs().map(|(name, program)| match program {
            Program::Xdp(program) => Ok((name, program)),
            _ => Err(LoadError::Missing("programs but those for XDP")),
        })
    }

    /// Takes a map out of the object.
    ///
    /// # Errors
    /// [`LoadError::Missing`].
    pub fn take_map(&mut self, name: &'static str) -> Result<Map, LoadError> {
        self.ebpf.take_map(name).ok_or(LoadError::Missing(name))
    }

    /// Takes a plain array out of the object, to be mapped.
    ///
    /// # Errors
    /// [`LoadError::Missing`].
    pub fn take_array(&mut self, name: &'static str) -> Result<MapData, LoadError> {
        match self.take_map(name)? {
            Map::Array(data) => Ok(data),
            _ => Err(LoadError::Missing(name)),
        }
    }

    /// The program that reads the clock.
    ///
    /// # Errors
    /// [`LoadError::Missing`].
    pub fn clock_program(&self) -> Result<&Xdp, LoadError> {
        let program = self
            .ebpf
            .program("splitter_clock")
            .ok_or(LoadError::Missing("splitter_clock"))?;
        Ok(program.try_into()?)
    }
}

/// Jiffies and nanoseconds of the monotonic clock, read by the clock program.
///
/// # Errors
/// What the test run says.
pub fn read_clock(program: &Xdp) -> Result<(u64, u64), LoadError> {
    let input = [0_u8; 64];
    let mut output = [0_u8; 64];
    let mut options = TestRunOptions::new();
    options.data_in = Some(&input);
    options.data_out = Some(&mut output);
    program.test_run(options)?;
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&output[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    Ok((word(0), word(8)))
}
