//! The flow table: find, refresh, pin. See `splitter_ebpf::flow` for the value word.
//!
//! A slot's value is claimed by compare-and-exchange before its key is published, and a value counts
//! only if its tag fits the key, so a reader never takes one flow's backend for another's while a
//! slot changes hands. A striped lock keeps two CPUs from pinning one flow twice; nothing waits for
//! it for long, and nothing but this program ever holds it.

use super::maps::{FLOW_KEYS, FLOW_MASK, FLOW_SECRET, FLOWS, LOCKS};
use super::{clock, word};
use splitter_ebpf::abi::{BUCKET_FLOWS, Bucket, ColdKey};
use splitter_ebpf::endpoint::{FlowPlace, flow_place};
use splitter_ebpf::flow::{Event, State, Value, advance};

/// Attempts to take an insert lock before the flow goes unpinned.
const LOCK_TRIES: u32 = 128;
/// Attempts to claim a slot while others claim in the same buckets.
const CLAIM_TRIES: u32 = 4;

/// A flow's name and where it may lie.
pub struct Name {
    pub key: u64,
    pub place: FlowPlace,
}

/// A flow that was found: its value, and where that lies.
pub struct Found {
    pub word: *mut u64,
    pub value: Value,
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
}

impl Name {
    /// The flow called `key`.
    #[inline(always)]
    pub fn new(key: u64) -> Self {
        Self { key, place: flow_place(FLOW_SECRET.load(), key, FLOW_MASK.load()) }
    }

    /// Looks the flow up.
    #[inline(always)]
    pub fn find(&self) -> Option<Found> {
        let [first, second] = self.place.buckets;
        let first = FLOWS.get_ptr_mut(first)?;
        let second = FLOWS.get_ptr_mut(second)?;
        self.find_in(first).or_else(|| self.find_in(second))
    }

    #[inline(always)]
    fn find_in(&self, bucket: *mut Bucket) -> Option<Found> {
        let mut lane = 0;
        while lane < BUCKET_FLOWS {
            let (key, value) = slot(bucket, lane);
            if word::load(key) == self.key {
                let found = Value(word::load(value));
                if found.0 != 0 && found.tag() == self.place.tag {
                    return Some(Found { word: value, value: found });
                }
            }
            lane += 1;
        }
        None
    }

    /// Pins the flow to what `value` says, unless somebody else did so meanwhile. `cold` is the full
    /// key of an IPv6 flow.
    #[inline(always)]
    pub fn pin(&self, value: Value, cold: Option<&ColdKey>) -> Pin {
        let Some(lock) = LOCKS.get_ptr_mut(self.place.lock) else { return Pin::Contended };
        let mut tries = 0;
        while word::compare_exchange(lock, 0, 1).is_err() {
            tries += 1;
            if tries == LOCK_TRIES {
                return Pin::Contended;
            }
        }
        let pin = self.pin_locked(value, cold);
        word::store(lock, 0);
        pin
    }

    #[inline(always)]
    fn pin_locked(&self, value: Value, cold: Option<&ColdKey>) -> Pin {
        if let Some(found) = self.find() {
            return Pin::Existing(found.value);
        }
        let now = clock::now();
        let mut tries = 0;
        while tries < CLAIM_TRIES {
            let Some(choice) = self.choose(now) else { return Pin::Full };
            let Some(bucket) = FLOWS.get_ptr_mut(choice.bucket) else { return Pin::Contended };
            let (key, word) = slot(bucket, choice.lane as usize & (BUCKET_FLOWS - 1));
            if word::compare_exchange(word, choice.value, value.0).is_ok() {
                if let Some(cold) = cold {
                    let index = choice.bucket * BUCKET_FLOWS as u32 + choice.lane;
                    if let Some(cell) = FLOW_KEYS.get_ptr_mut(index) {
                        // SAFETY: the look-up succeeded. The slot is ours by the exchange above; a
                        // reader checks the cell against the key.
                        unsafe { *cell = *cold }
                    }
                }
                word::store(key, self.key);
                return Pin::Done;
            }
            tries += 1;
        }
        Pin::Contended
    }

    /// The slot for a new flow: a free one in the emptier bucket, else the evictable flow that was
    /// seen longest ago.
    #[inline(always)]
    fn choose(&self, now: u32) -> Option<Choice> {
        let mut free = [0_u32; 2];
        let mut free_lane = [0_u32; 2];
        let mut oldest: Option<Choice> = None;
        let mut oldest_age = 0;
        let mut side = 0;
        while side < 2 {
            let bucket = FLOWS.get_ptr_mut(self.place.buckets[side])?;
            let mut lane = 0;
            while lane < BUCKET_FLOWS {
                let value = Value(word::load(slot(bucket, lane).1));
                if value.0 == 0 {
                    free[side] += 1;
                    free_lane[side] = lane as u32;
                } else if State::evictable_bits(value.state_bits()) {
                    let age = value.age(now) + 1;
                    if age > oldest_age {
                        oldest_age = age;
                        oldest = Some(Choice {
                            bucket: self.place.buckets[side],
                            lane: lane as u32,
                            value: value.0,
                        });
                    }
                }
                lane += 1;
            }
            side += 1;
        }
        if free[0] == 0 && free[1] == 0 {
            return oldest;
        }
        let side = usize::from(free[1] > free[0]);
        Some(Choice { bucket: self.place.buckets[side], lane: free_lane[side], value: 0 })
    }
}

struct Choice {
    bucket: u32,
    lane: u32,
    value: u64,
}

/// Pointers to a lane's key and value; `lane` is below [`BUCKET_FLOWS`].
#[inline(always)]
fn slot(bucket: *mut Bucket, lane: usize) -> (*mut u64, *mut u64) {
    // SAFETY: pointer arithmetic within the bucket that a look-up returned.
    unsafe { ((&raw mut (*bucket).keys).cast::<u64>().add(lane), (&raw mut (*bucket).values).cast::<u64>().add(lane)) }
}

impl Found {
    /// Records a packet of the flow: its state and when it was seen. Writes at most once a tick
    /// while the state stays.
    #[inline(always)]
    pub fn refresh(&self, event: Event, now: u32) {
        let mut value = self.value;
        let mut tries = 0;
        while tries < 4 {
            let next = refreshed(value, event, now);
            if next == value {
                return;
            }
            match word::compare_exchange(self.word, value.0, next.0) {
                Ok(()) => return,
                // Freed, or given to another flow: nothing of ours is left to refresh.
                Err(found) if found == 0 || Value(found).tag() != value.tag() => return,
                Err(found) => value = Value(found),
            }
            tries += 1;
        }
    }

    /// Pins the flow anew, if it still is what was found.
    #[inline(always)]
    pub fn replace(&self, value: Value) -> Result<(), Value> {
        word::compare_exchange(self.word, self.value.0, value.0).map_err(Value)
    }
}

/// `value` after `event`. An unconfirmed flow keeps the time at which it was first seen.
#[inline(always)]
fn refreshed(value: Value, event: Event, now: u32) -> Value {
    let state = advance(value.state_bits(), event);
    let unconfirmed = state == State::New as u8 || state == State::UdpNew as u8;
    let seen = if unconfirmed { value.seen() } else { now };
    Value::new(value.backend(), state, value.tag(), seen)
}
