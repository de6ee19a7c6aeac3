//! The flow table: find, refresh, pin. See `splitter_ebpf::flow` for the value word.
//!
//! A slot's value is claimed by compare-and-exchange before its key is published, and a value counts
//! only if its tag fits the key, so a reader never takes one flow's backend for another's while a
//! slot changes hands. A striped lock keeps two CPUs from pinning one flow twice; nothing waits for
//! it for long, and nothing but this program ever holds it.

use super::maps::{FLOW_KEYS, FLOW_MASK, FLOW_SECRET, FLOWS, LOCKS, PENDING};
use super::{clock, word};
use splitter_ebpf::abi::{BUCKET_FLOWS, Bucket, ColdKey, LOCKS as LOCK_COUNT, Victim};
use splitter_ebpf::endpoint::flow_place;
use splitter_ebpf::flow::{Event, State, TICK_BITS, TICK_MASK, Value, advance};
use splitter_ebpf::lanes;

/// Attempts to take an insert lock before the flow goes unpinned.
const LOCK_TRIES: u32 = 128;
/// Attempts to claim a slot while others claim in the same buckets.
const CLAIM_TRIES: u32 = 4;
/// Attempts to refresh a flow that other CPUs refresh as well.
const UPDATE_TRIES: u32 = 3;

/// A flow's name and where it may lie.
#[derive(Clone, Copy)]
pub struct Name {
    key: u64,
    /// Its two buckets, the first in the lower half.
    buckets: u64,
    /// The tag of its values, and below 12 bits the number of its insert lock.
    spread: u32,
}

/// What became of a pin.
pub enum Pin {
    /// The flow is pinned as asked.
    Done,
    /// Another CPU was first; this is its value.
    Existing(Value),
    /// Both buckets are full of established flows.
    Full,
    /// The lock or the slots were contended for too long.
    Contended,
    /// No address and port was found free to translate the client to.
    Exhausted,
    /// This CPU has pinned as many within this tick as it may.
    Capped,
}

/// Answers of [`pin_flow`] that are not the index of a slot.
pub const FULL: u64 = 1 << 32;
pub const CONTENDED: u64 = 2 << 32;
pub const EXISTING: u64 = 3 << 32;
/// The lowest bit of a value's tag.
const OTHER_TAG: u64 = 1 << 20;
/// In the lock's number: the full key, in [`PENDING`], is kept beside the slot.
pub const WITH_COLD: u32 = 1 << 31;

impl Name {
    /// The flow called `key`.
    #[inline(always)]
    pub fn new(key: u64) -> Self {
        let place = flow_place(FLOW_SECRET.load(), key, FLOW_MASK.load());
        Self {
            key,
            buckets: place.buckets[0] as u64 | ((place.buckets[1] as u64) << 32),
            spread: (place.tag << 12) | place.lock,
        }
    }

    /// The name that [`parts`](Self::parts) and [`spread`](Self::spread) were taken from.
    #[inline(always)]
    pub const fn of_parts(key: u64, buckets: u64, spread: u32) -> Self {
        Self {
            key,
            buckets,
            spread,
        }
    }

    /// The tag that marks the flow's values.
    #[inline(always)]
    pub const fn tag(&self) -> u32 {
        self.spread >> 12
    }

    /// The flow's value. Where it lies is not given back: each of sixteen places would be a path of
    /// its own for the verifier.
    #[inline(always)]
    pub fn find(&self) -> Option<Value> {
        let value = find_flow(self.key, self.buckets, self.tag());
        if value == 0 { None } else { Some(Value(value)) }
    }

    /// Records a packet of the flow, whose value is `value`: its state and when it was seen. Writes
    /// at most once a tick while the state stays, and says whether it did.
    #[inline(always)]
    pub fn refresh(&self, value: Value, event: Event, now: u32) -> bool {
        let next = refreshed(value, event, now);
        let changed = next != value;
        if changed {
            update_flow(self.key, self.buckets, value.0, next.0, pack(event, now));
        }
        changed
    }

    /// Pins the flow anew to `next`, if its value still is `value`.
    #[inline(always)]
    pub fn replace(&self, value: Value, next: Value) -> bool {
        update_flow(self.key, self.buckets, value.0, next.0, NO_EVENT) != 0
    }

    /// Pins the flow in [`PENDING`] to what `value` says, unless somebody else did so meanwhile; keeps its
    /// full key if `cold`.
    #[inline(always)]
    pub fn pin(&self, value: Value, cold: bool) -> Pin {
        self.pinned(self.pin_raw(value, cold))
    }

    /// The same; answers as [`pin_flow`] does.
    #[inline(always)]
    pub fn pin_raw(&self, value: Value, cold: bool) -> u64 {
        let lock = self.lock() | if cold { WITH_COLD } else { 0 };
        pin_flow(self.key, self.buckets, value.0, lock)
    }

    /// What an answer of [`pin_flow`] means.
    #[inline(always)]
    pub fn pinned(&self, answer: u64) -> Pin {
        match answer {
            FULL => Pin::Full,
            CONTENDED => Pin::Contended,
            EXISTING => self.find().map_or(Pin::Contended, Pin::Existing),
            _ => Pin::Done,
        }
    }

    /// Where the flow lies and what its client is translated to, as one word for global functions.
    #[inline(always)]
    pub const fn parts(&self) -> (u64, u64, u32) {
        (self.key, self.buckets, self.tag())
    }

    #[inline(always)]
    const fn lock(&self) -> u32 {
        self.spread & (LOCK_COUNT as u32 - 1)
    }

    /// 32 bits of the flow's hash, the same for all its packets.
    #[inline(always)]
    pub const fn spread(&self) -> u32 {
        self.spread
    }
}

/// The value of `key` in `bucket`, 0 if it is not there. Ends at the first lane that has it, which is the
/// cheapest; only for functions that the verifier walks once.
#[inline(always)]
fn find_in(bucket: *mut Bucket, key: u64, tag: u32) -> u64 {
    let mut lane = 0;
    while lane < BUCKET_FLOWS {
        let (key_word, value_word) = slot(bucket, lane);
        if word::load(key_word) == key {
            let found = word::load(value_word);
            if found != 0 && Value(found).tag() == tag {
                return found;
            }
        }
        lane += 1;
    }
    0
}

/// The lane and the value of `key` in `bucket`; the value is 0 if it is not there.
///
/// A free slot keeps its key, and a flow that comes back takes the slot that still has its own, so one
/// lane alone has it, or two for the moment in which another flow takes the first.
#[inline(always)]
pub fn find_lane(bucket: *mut Bucket, key: u64, tag: u32) -> (u32, u64) {
    let candidates = having(bucket, key);
    if candidates == 0 {
        return (0, 0);
    }
    let lane = lanes::first(candidates);
    let value = value_at(bucket, lane, tag);
    if value != 0 {
        return (lane, value);
    }
    let rest = candidates & (candidates - 1);
    if rest == 0 {
        return (0, 0);
    }
    let lane = lanes::first(rest);
    (lane, value_at(bucket, lane, tag))
}

/// The lanes of a bucket that have `key`, whether they are free or not.
#[inline(always)]
fn having(bucket: *mut Bucket, key: u64) -> lanes::Lanes {
    lanes::equal(|lane| word::load(slot(bucket, lane).0), key, word::negate)
}

/// The value in a lane, 0 if it is free or its tag is another.
#[inline(always)]
fn value_at(bucket: *mut Bucket, lane: u32, tag: u32) -> u64 {
    let value = word::load(slot(bucket, lane as usize & (BUCKET_FLOWS - 1)).1);
    if Value(value).tag() == tag { value } else { 0 }
}

/// Pointers to a lane's key and value; `lane` is below [`BUCKET_FLOWS`].
#[inline(always)]
pub fn slot(bucket: *mut Bucket, lane: usize) -> (*mut u64, *mut u64) {
    // SAFETY: pointer arithmetic within the bucket that a look-up returned.
    unsafe {
        (
            (&raw mut (*bucket).keys).cast::<u64>().add(lane),
            (&raw mut (*bucket).values).cast::<u64>().add(lane),
        )
    }
}

/// `value` after `event`. An unconfirmed flow keeps the time at which it was first seen; one whose backend
/// answers by itself is not confirmed by a `Replied`.
#[inline(always)]
fn refreshed(value: Value, event: Event, now: u32) -> Value {
    let state = advance(value.state_bits(), event);
    let unconfirmed = state == State::New as u8
        || state == State::UdpNew as u8
        || (event.one_way && state == State::Replied as u8);
    let seen = if unconfirmed { value.seen() } else { now };
    Value::new(value.backend(), state, value.tag(), seen)
}

/// An event and the tick in one word, for [`update_flow`].
#[inline(always)]
const fn pack(event: Event, now: u32) -> u64 {
    now as u64
        | ((event.flags as u64) << 32)
        | ((event.from_client as u64) << 40)
        | ((event.payload as u64) << 41)
        | ((event.aged as u64) << 42)
        | ((event.one_way as u64) << 43)
}

/// Instead of an event: do not try again.
const NO_EVENT: u64 = u64::MAX;

/// The value of the flow `key` in `buckets`, 0 if it is in neither.
///
/// A global function: the verifier checks it once, not at every place that calls it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_flow(key: u64, buckets: u64, tag: u32) -> u64 {
    // Not a loop: verifiers before Linux 6.3 do not see the end of one that a value may end too.
    let (Some(first), Some(second)) = (
        FLOWS.get_ptr_mut(buckets as u32),
        FLOWS.get_ptr_mut((buckets >> 32) as u32),
    ) else {
        return 0;
    };
    let value = find_in(first, key, tag);
    if value != 0 {
        return value;
    }
    find_in(second, key, tag)
}

/// Exchanges the value of the flow `key` in `buckets` from `old` to `new`. If it changed meanwhile
/// and still is this flow's, `event` is applied to what it is now. Returns 1 if it was exchanged.
///
/// A global function: the verifier checks it once, not at every place that calls it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn update_flow(key: u64, buckets: u64, old: u64, new: u64, event: u64) -> u64 {
    let [mut old, mut new] = [old, new];
    let mut tries = 0;
    while tries < UPDATE_TRIES {
        tries += 1;
        let found = exchange(key, buckets, old, new);
        if found == old {
            return 1;
        }
        // Freed, or given to another flow: nothing of ours is left to refresh.
        if found == 0 || event == NO_EVENT || Value(found).tag() != Value(old).tag() {
            return 0;
        }
        old = found;
        let packet = Event {
            from_client: event & (1 << 40) != 0,
            flags: (event >> 32) as u8,
            payload: event & (1 << 41) != 0,
            aged: event & (1 << 42) != 0,
            one_way: event & (1 << 43) != 0,
        };
        new = refreshed(Value(old), packet, event as u32).0;
    }
    0
}

/// Exchanges `old` for `new` in the slot of `key` that holds `old`; gives back `old`, or what the
/// slot came to hold, or 0 if no slot of the key holds `old`.
#[inline(always)]
pub fn exchange(key: u64, buckets: u64, old: u64, new: u64) -> u64 {
    let mut side = 0;
    while side < 2 {
        let Some(bucket) = FLOWS.get_ptr_mut((buckets >> (32 * side)) as u32) else {
            return 0;
        };
        let (lane, value) = find_lane(bucket, key, Value(old).tag());
        if value != 0 {
            let word = slot(bucket, lane as usize & (BUCKET_FLOWS - 1)).1;
            return match word::compare_exchange(word, old, new) {
                Ok(()) => old,
                Err(found) => found,
            };
        }
        side += 1;
    }
    0
}

/// Pins `key`: takes its lock, makes sure that nobody else has pinned it, claims a slot and
/// publishes the key there. Returns the slot's index, [`FULL`], [`CONTENDED`] or [`EXISTING`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pin_flow(key: u64, buckets: u64, value: u64, number: u32) -> u64 {
    let Some(lock) = LOCKS.get_ptr_mut(number & (LOCK_COUNT as u32 - 1)) else {
        return CONTENDED;
    };
    let mut tries = 0;
    while word::compare_exchange(lock, 0, 1).is_err() {
        tries += 1;
        if tries == LOCK_TRIES {
            return CONTENDED;
        }
    }
    let answer = pin_locked(key, buckets, value, number & WITH_COLD != 0);
    word::store(lock, 0);
    answer
}

#[inline(always)]
fn pin_locked(key: u64, buckets: u64, value: u64, cold: bool) -> u64 {
    let (Some(first), Some(second)) = (
        FLOWS.get_ptr_mut(buckets as u32),
        FLOWS.get_ptr_mut((buckets >> 32) as u32),
    ) else {
        return CONTENDED;
    };
    let tag = Value(value).tag();
    if find_in(first, key, tag) != 0 || find_in(second, key, tag) != 0 {
        return EXISTING;
    }
    let mut tries = 0;
    while tries < CLAIM_TRIES {
        tries += 1;
        let (mut bucket, mut number) = (first, buckets as u32);
        // A flow goes to its first bucket while that is roomy, so that most later packets find it
        // there: of a table half full, five flows in six, and hardly more of them fail to find room
        // (1 in 4 M) than if the emptier bucket were always taken.
        let mut free = free_lanes(first);
        if !lanes::at_least_three(free) {
            let others = free_lanes(second);
            if others.count_ones() > free.count_ones() {
                (bucket, number, free) = (second, (buckets >> 32) as u32, others);
            }
        }
        if free == 0 {
            return evict(key, buckets, value, cold);
        }
        // What is left of the same flow goes first, so that no two slots of a bucket have one key.
        let left = free & having(bucket, key);
        let lane = lanes::first(if left == 0 { free } else { left });
        let (key_word, value_word) = slot(bucket, lane as usize);
        // With a cold key, under another tag until that is written: the slot may still have this key.
        let claim = if cold { value ^ OTHER_TAG } else { value };
        if word::compare_exchange(value_word, 0, claim).is_ok() {
            let slot = slot_number(number, lane);
            word::store(key_word, key);
            if cold {
                write_cold(slot as u32);
                word::store(value_word, value);
            }
            return slot;
        }
    }
    CONTENDED
}

/// The index of a slot among all.
#[inline(always)]
const fn slot_number(bucket: u32, lane: u32) -> u64 {
    bucket as u64 * BUCKET_FLOWS as u64 + lane as u64
}

/// The lanes of a bucket that are free. A state is never 0, so a value is 0 if its state is.
#[inline(always)]
fn free_lanes(bucket: *mut Bucket) -> lanes::Lanes {
    let mut used = 0;
    let mut lane = 0;
    while lane < BUCKET_FLOWS {
        let state = word::load(slot(bucket, lane).1) >> 16;
        let halves = state | (state >> 2);
        used |= (((halves | (halves >> 1)) & 1) as u32) << lane;
        lane += 1;
    }
    used ^ ((1 << BUCKET_FLOWS) - 1)
}

/// Pins `key` in the place of the evictable flow that was seen longest ago, if there is one.
#[inline(always)]
fn evict(key: u64, buckets: u64, value: u64, cold: bool) -> u64 {
    let now = clock::now();
    let (first, second) = (
        oldest(buckets as u32, now),
        oldest((buckets >> 32) as u32, now),
    );
    let (best, number) = if second > first {
        (second, (buckets >> 32) as u32)
    } else {
        (first, buckets as u32)
    };
    let lane = best as u32 & (BUCKET_FLOWS as u32 - 1);
    let index = slot_number(number, lane);
    let (Some(bucket), Some(cell), Some(flow)) = (
        FLOWS.get_ptr_mut(number),
        FLOW_KEYS.get_ptr(index as u32),
        PENDING.get_ptr_mut(0),
    ) else {
        return CONTENDED;
    };
    let (key_word, value_word) = slot(bucket, lane as usize);
    let old = word::load(value_word);
    if evictable(old, now) < SETTLING_TICKS as u64 {
        return FULL;
    }
    // SAFETY: a field's address within a value that a look-up returned.
    let rest = word::load(unsafe { &raw const (*cell).rest });
    if word::compare_exchange(value_word, old, value).is_err() {
        return CONTENDED;
    }
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    unsafe {
        (*flow).victim = Victim {
            value: old,
            rest,
            slot: index,
        }
    }
    if cold {
        write_cold(index as u32);
    }
    word::store(key_word, key);
    index
}

/// Writes the full key of the flow in [`PENDING`] beside a slot that was claimed and whose key is not
/// published yet. The word that readers check is 0 while the address changes.
#[inline(always)]
fn write_cold(slot: u32) {
    let (Some(flow), Some(cell)) = (PENDING.get(0), FLOW_KEYS.get_ptr_mut(slot)) else {
        return;
    };
    // SAFETY: the look-ups succeeded; the fields are aligned words of the value.
    unsafe {
        let rest = &raw mut (*cell).rest;
        word::store(rest, 0);
        (*cell).address = word::address(&raw const flow.client);
        word::store(
            rest,
            ColdKey::rest_of(flow.client_port, flow.listener, flow.translation),
        );
    }
}

/// Ticks for which no flow is evicted. Its handshake may be under way; and a slot must not change
/// hands while the CPU that took it has yet to publish its key.
const SETTLING_TICKS: u32 = 2;

/// The age of an evictable flow, 0 for any other. Without a branch, for the verifier would walk both ways
/// for each lane.
#[inline(always)]
fn evictable(value: u64, now: u32) -> u64 {
    let value = Value(value);
    let age = now.wrapping_sub(value.seen()) & TICK_MASK;
    // What was refreshed after the clock was read looks half the clock's range old or more.
    let past = (age >> (TICK_BITS - 1)) ^ 1;
    let kept = past & State::evictable_bits(value.state_bits()) as u32;
    age as u64 & word::negate(kept as u64)
}

/// The evictable flow of a bucket that was seen longest ago: its age, and its lane in the low three bits.
#[inline(always)]
fn oldest(bucket: u32, now: u32) -> u64 {
    let Some(pointer) = FLOWS.get_ptr_mut(bucket) else {
        return 0;
    };
    let mut best = 0_u64;
    let mut lane = 0;
    while lane < BUCKET_FLOWS {
        let age = evictable(word::load(slot(pointer, lane).1), now);
        let mark = (age << 3) | lane as u64;
        let more = best.wrapping_sub(mark);
        best = best.wrapping_sub(more & word::negate(more >> 63));
        lane += 1;
    }
    best
}

/// Frees every flow of one bucket, counted modulo the table's size.
#[cfg(feature = "bench")]
#[inline(always)]
pub fn sweep(bucket: u32) {
    let Some(bucket) = FLOWS.get_ptr_mut(bucket & FLOW_MASK.load()) else {
        return;
    };
    let mut lane = 0;
    while lane < BUCKET_FLOWS {
        word::store(slot(bucket, lane).1, 0);
        lane += 1;
    }
}
