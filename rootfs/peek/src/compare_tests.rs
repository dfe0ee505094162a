use super::*;
use crate::source::tests::Bad;

const BLOCK: usize = 512;

fn good() -> Vec<u8> {
    (0..100 * BLOCK as u32 / 4)
        .flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .collect()
}

fn ranges(bad: &[u8]) -> Vec<(u64, u64, Difference)> {
    let found = compare(&bad, &good().as_slice(), BLOCK, &mut |_| {});
    let ranges = found.ranges.into_iter();
    ranges.map(|r| (r.start, r.length, r.difference)).collect()
}

#[test]
fn the_same_is_the_same() {
    let found = compare(&good().as_slice(), &good().as_slice(), BLOCK, &mut |_| {});
    assert!(found.is_same() && found.ranges.is_empty());
    assert_eq!(found.blocks, 100);
}

#[test]
fn one_bit_is_told_with_its_byte() {
    let mut bad = good();
    bad[5000] ^= 0x10;
    let (here, there) = (bad[5000], good()[5000]);
    assert_eq!(
        ranges(&bad),
        [(9 * 512, 512, Difference::Bits(vec![(5000, here, there)]))]
    );
}

#[test]
fn filled_blocks_are_one_range() {
    let mut bad = good();
    bad[1024..4096].fill(0);
    bad[4096..4608].fill(0xff);
    assert_eq!(
        ranges(&bad),
        [
            (1024, 3072, Difference::Filled(0)),
            (4096, 512, Difference::Filled(0xff))
        ]
    );
    let found = compare(&good().as_slice(), &bad.as_slice(), BLOCK, &mut |_| {});
    assert_eq!(found.ranges[0].difference, Difference::FilledThere(0));
}

#[test]
fn swapped_blocks_are_found_where_they_belong() {
    let mut bad = good();
    let (first, second) = bad.split_at_mut(20_480);
    first[2048..4096].swap_with_slice(&mut second[..2048]);
    // In between a block that is nowhere.
    bad[3072..3584]
        .iter_mut()
        .for_each(|byte| *byte = byte.wrapping_add(77));
    assert_eq!(
        ranges(&bad),
        [
            (2048, 1024, Difference::MovedFrom(20_480)),
            (3072, 512, Difference::Content(512)),
            (3584, 512, Difference::MovedFrom(22_016)),
            (20_480, 2048, Difference::MovedFrom(2048)),
        ]
    );
}

#[test]
fn what_is_shifted_and_cut_is_told() {
    let mut bad = good();
    drop(bad.drain(10_000..10_016));
    let found = compare(&bad.as_slice(), &good().as_slice(), BLOCK, &mut |_| {});
    assert_eq!(found.sizes, (51_184, 51_200));
    assert_eq!(found.ranges.len(), 1, "{:?}", found.ranges);
    assert_eq!(found.ranges[0].start, 9728);
    assert_eq!(found.ranges[0].difference, Difference::Shifted(16));
    let cut = compare(&&good()[..700], &good().as_slice(), BLOCK, &mut |_| {});
    assert!(cut.ranges.is_empty() && !cut.is_same());
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_compared() {
    let mut bytes = good();
    bytes[40_000] ^= 1;
    let bad = Bad(bytes, 1024..2048);
    let found = compare(&bad, &good().as_slice(), BLOCK, &mut |_| {});
    assert_eq!(found.differing, 3);
    assert_eq!(found.ranges[0].difference, Difference::Unreadable);
    assert_eq!(
        (found.ranges[0].start, found.ranges[0].length),
        (1024, 1024)
    );
    assert!(matches!(found.ranges[1].difference, Difference::Bits(_)));
}

#[test]
fn what_is_told_is_bounded() {
    let large: Vec<u8> = vec![0x55; 3000 * BLOCK];
    let mut bad = large.clone();
    for block in (0..3000).step_by(2) {
        bad[block * BLOCK] ^= 1;
    }
    let found = compare(&bad.as_slice(), &large.as_slice(), BLOCK, &mut |_| {});
    assert_eq!(
        (found.differing, found.ranges.len(), found.more),
        (1500, RANGES, true)
    );
}

/// Each of the wanted blocks is the same as each of thousands there; more comparisons than blocks took a minute.
#[test]
fn blocks_that_repeat_are_found_once() {
    use std::cell::Cell;

    struct Counted<'a>(&'a [u8], Cell<usize>);
    impl crate::source::Bytes for Counted<'_> {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1.set(self.1.get() + 1);
            self.0.read_at(offset, buffer)
        }
    }
    let pair: Vec<u8> = good()[..2 * BLOCK].to_vec();
    let here = pair.repeat(1000);
    let there: Vec<u8> = [&here[BLOCK..], &here[..BLOCK]].concat();
    let counted = Counted(&here, Cell::new(0));
    let found = compare(&counted, &there.as_slice(), BLOCK, &mut |_| {});
    assert_eq!(found.differing, 2000);
    assert_eq!(
        found.ranges[0].difference,
        Difference::MovedFrom(BLOCK as u64)
    );
    assert!(counted.1.get() < 10_000, "{}", counted.1.get());
}
