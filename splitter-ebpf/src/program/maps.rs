//! The only file that names maps. Sizes given here are placeholders where the loader sets them from
//! the configuration.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::macros::btf_map;
use splitter_ebpf::abi;
use splitter_ebpf::unusual::Sight;

const MAPPED: usize = BPF_F_MMAPABLE as usize;

/// The selector and the route epoch.
#[btf_map]
pub static CONTROL: Array<abi::Control, 1, MAPPED> = Array::new();
/// What the maps were made with; for the agent alone.
#[btf_map]
pub static META: Array<abi::Meta, 1, MAPPED> = Array::new();
/// Rows.
#[btf_map]
pub static ROWS: Array<abi::Row, { abi::ROWS }, MAPPED> = Array::new();
/// By service: its split tables.
#[btf_map]
pub static SPLITS: ArrayOfMaps<Array<abi::SplitTable, { abi::TABLES }, MAPPED>, 256> =
    ArrayOfMaps::new();
/// By [`abi::track_table_index`].
#[btf_map]
pub static TRACKS: ArrayOfMaps<Array<abi::TrackTable, 1, MAPPED>, 4096> = ArrayOfMaps::new();
/// Tags of the endpoint table's buckets.
#[btf_map]
pub static ENDPOINT_TAGS: Array<u64, 1024, MAPPED> = Array::new();
/// Endpoints, four a bucket.
#[btf_map]
pub static ENDPOINTS: Array<abi::Endpoint, 4096, MAPPED> = Array::new();
/// Listeners by id.
#[btf_map]
pub static LISTENERS: Array<abi::Listener, 1024, MAPPED> = Array::new();
/// Backend endpoints by index.
#[btf_map]
pub static REPLIES: Array<abi::Reply, 1024, MAPPED> = Array::new();
/// Backends by id.
#[btf_map]
pub static BACKENDS: Array<abi::Backend, 1024, MAPPED> = Array::new();
/// The flow table.
#[btf_map]
pub static FLOWS: Array<abi::Bucket, 1024, MAPPED> = Array::new();
/// Full keys and translations of flows, beside their slots.
#[btf_map]
pub static FLOW_KEYS: Array<abi::ColdKey, 8192, MAPPED> = Array::new();
/// Insert locks; only this program takes them.
#[btf_map]
pub static LOCKS: Array<u64, { abi::LOCKS }> = Array::new();
/// Counters by reason.
#[btf_map]
pub static VERDICTS: PerCpuArray<abi::Verdicts, 1> = PerCpuArray::new();
/// Counters by backend.
#[btf_map]
pub static COUNTERS: PerCpuArray<abi::BackendCounters, 1024> = PerCpuArray::new();
/// Programs that go on where the first one stops: see [`abi::Stage`].
#[btf_map]
pub static STAGES: ProgramArray<{ abi::STAGES }> = ProgramArray::new();
/// The VLAN tag of a frame on its way to another stage.
#[btf_map]
pub static PASSED_TAG: PerCpuArray<u32, 1> = PerCpuArray::new();
/// The verdict that a frame leaves one program with for [`abi::Stage::Answer`].
#[btf_map]
pub static PASSED_OUTCOME: PerCpuArray<u64, 1> = PerCpuArray::new();
/// A flow that is being pinned.
#[btf_map]
pub static PENDING: PerCpuArray<abi::Pending, 1> = PerCpuArray::new();
/// The flow that a packet to an address of ours belongs to.
#[btf_map]
pub static REVERSE: PerCpuArray<abi::Reverse, 1> = PerCpuArray::new();
/// The way that is looked for by [`find_way`](super::hops::find_way).
#[btf_map]
pub static WANTED: PerCpuArray<abi::Wanted, 1> = PerCpuArray::new();
/// The unusual packet that is on its way through [`unusual`](super::unusual).
#[btf_map]
pub static SIGHT: PerCpuArray<Sight, 1> = PerCpuArray::new();
/// Next hops towards clients, as the kernel's routes say.
#[btf_map]
pub static CLIENT_HOPS: PerCpuArray<abi::ClientHop, { abi::CLIENT_HOPS }> = PerCpuArray::new();
/// Next hops towards clients, as their packets showed.
#[btf_map]
pub static LEARNED_HOPS: Array<abi::LearnedHop, { abi::LEARNED_HOPS }> = Array::new();

/// By service: what it does beside its splits.
#[btf_map]
pub static SERVICES: Array<abi::ServiceWord, { abi::MAX_SERVICES }, MAPPED> = Array::new();
/// What clients' addresses are translated to.
#[btf_map]
pub static NAT_POOLS: Array<abi::NatPool, { abi::NAT_POOLS }, MAPPED> = Array::new();
/// Where the first fragments of packets went.
#[btf_map]
pub static FRAGMENTS: LruHashMap<abi::FragmentKey, abi::FragmentPath, { abi::FRAGMENTS }> =
    LruHashMap::new();
/// Devices that are tags on others, by index.
#[btf_map]
pub static VLAN_DEVICES: HashMap<u32, abi::VlanDevice, { abi::VLAN_DEVICES }> = HashMap::new();
/// What this CPU may still do in this tick: pins, ICMP errors.
#[btf_map]
pub static BUDGETS: PerCpuArray<abi::Budget, 2> = PerCpuArray::new();

/// Flow table buckets minus one.
#[unsafe(no_mangle)]
pub static FLOW_MASK: Global<u32> = Global::new(1023);
/// Endpoint table buckets minus one.
#[unsafe(no_mangle)]
pub static ENDPOINT_MASK: Global<u32> = Global::new(1023);
/// Right shift from jiffies to ticks.
#[unsafe(no_mangle)]
pub static TICK_SHIFT: Global<u32> = Global::new(6);
/// Ticks that are at least a second.
#[unsafe(no_mangle)]
pub static SECOND_TICKS: Global<u32> = Global::new(5);
/// Ticks within which a SYN follows the pin that it meets: 60 s.
#[unsafe(no_mangle)]
pub static REUSE_TICKS: Global<u32> = Global::new(235);
/// Ticks for which a cached next hop towards a client is good: 2 s.
#[unsafe(no_mangle)]
pub static HOP_TICKS: Global<u32> = Global::new(8);
/// Key of the flow table's places.
#[unsafe(no_mangle)]
pub static FLOW_SECRET: Global<[u64; 2]> = Global::new([0; 2]);
/// Key of IPv6 fingerprints.
#[unsafe(no_mangle)]
pub static FINGERPRINT_KEY: Global<[u64; 2]> = Global::new([0; 2]);
/// Key of the endpoint table's places.
#[unsafe(no_mangle)]
pub static ENDPOINT_SEED: Global<[u64; 2]> = Global::new([0; 2]);
