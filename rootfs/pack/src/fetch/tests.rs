//! Which requests are made of which groups.

use kedge_pack_index::Group;

use super::*;

fn index(sizes: &[(usize, u64)]) -> Index {
    let mut index = Index {
        archives: vec!["shared".into(), "tools".into()],
        ..Index::default()
    };
    let mut ends = [0; 2];
    for (archive, packed) in sizes {
        index.groups.push(Group {
            archive: *archive,
            offset: ends[*archive],
            packed: *packed,
            unpacked: 0,
            sha256: [0; 32],
        });
        ends[*archive] += packed;
    }
    index
}

#[test]
fn neighbours_are_one_run_and_runs_are_in_the_order_of_the_medium() {
    let index = index(&[(1, 10), (0, 5), (1, 20), (1, 30), (0, 6)]);
    let run = |archive, offset, length, groups: &[usize]| Run {
        archive,
        offset,
        length,
        groups: groups.to_vec(),
    };
    let all = runs(&index, &(0..5).collect());
    assert_eq!(all, [run(0, 0, 11, &[1, 4]), run(1, 0, 60, &[0, 2, 3])]);
    let some = runs(&index, &BTreeSet::from([0, 3, 4]));
    assert_eq!(
        some,
        [
            run(0, 5, 6, &[4]),
            run(1, 0, 10, &[0]),
            run(1, 30, 30, &[3])
        ]
    );
}

#[test]
fn a_source_that_never_answered_is_given_up_soon_and_one_that_did_is_waited_for() {
    let mut patience = Patience::new();
    let waits: Vec<u64> = (0..6)
        .map(|_| {
            patience.note(false, true);
            patience.wait().as_secs()
        })
        .collect();
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    assert!(!patience.over());
    patience.note(false, false);
    assert!(patience.over());
}
