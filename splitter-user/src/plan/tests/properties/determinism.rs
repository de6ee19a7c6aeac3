//! The same inputs give the same bytes.

use std::sync::LazyLock;

use super::*;

/// What else a host may have.
static OTHERS: LazyLock<World> = LazyLock::new(|| {
    let tracks = [("blue", "100%", "198.18.9.11")];
    let others = apply(&yaml("other", "198.18.1.200", &tracks));
    after(&World::empty(4, 16, 256), &others)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_same_changes_make_the_same_split_whatever_else_there_is(
        parts in prop::collection::vec(1..100_000_u64, 1..=MAX_TRACKS), steps in prop::collection::vec(step(), 1..3),
    ) {
        let mut one = world(&parts);
        // Other services, and so other numbers.
        let mut two = OTHERS.clone();
        two.services.extend(one.services.clone());
        two.number(&OTHERS, NOW).unwrap();
        for step in &steps {
            one = take(&one, step);
            two = take(&two, step);
        }
        let (one_web, two_web) = (&one.services["web"], &two.services["web"]);
        prop_assert_eq!(&one_web.split.slots, &two_web.split.slots);
        prop_assert_eq!(header(&one), header(&two));
    }
}
