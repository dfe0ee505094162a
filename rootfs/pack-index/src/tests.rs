use super::*;

const TEXT: &str = "\
kedge-packs 1
id 0f343b0931126a20f133d67c2b018a3b
archive shared
archive storage
group 0 743120 1926656 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
group 1 301214 871424 2c624232cc5fc5ca4a4e1e7ac6b7a0c6cf3a7b1f0ff3f0ad47b1d1d0ba1c4d2f
group 1 100 512 000000000000000000000000000000000000000000000000000000000000ffff
pack storage file systems, LUKS, LVM
program storage mdadm 0 2
program storage xfs_repair 0 1
built-in 0
";

#[test]
fn what_is_written_is_read_again() {
    let index = Index::parse(TEXT).unwrap();
    assert_eq!(index.to_text(), TEXT);
    assert_eq!(index.packs[0].summary, "file systems, LUKS, LVM");
    assert_eq!(index.programs[1].groups, BTreeSet::from([0, 1]));
    assert_eq!(index.groups_of_pack(0), BTreeSet::from([0, 1, 2]));
    assert_eq!(index.built_in, BTreeSet::from([0]));
    assert_eq!(
        index.application_id(),
        "KEDGE PACKS 0F343B0931126A20F133D67C2B018A3B"
    );
}

#[test]
fn groups_of_an_archive_lie_one_behind_the_other() {
    let index = Index::parse(TEXT).unwrap();
    let offsets: Vec<u64> = index.groups.iter().map(|group| group.offset).collect();
    assert_eq!(offsets, [0, 0, 301_214]);
}

#[test]
fn what_is_no_index_is_refused_with_its_line() {
    for (wrong, line) in [
        ("", 1),
        ("kedge-packs 2\n", 1),
        ("kedge-packs 1\nid 12\n", 2),
        ("kedge-packs 1\n", 1),
        ("kedge-packs 1\npack a x\ty\n", 2),
        ("kedge-packs 1\nsomething\n", 2),
        ("kedge-packs 1\ngroup 0 1 1 00\n", 2),
        ("kedge-packs 1\narchive shared\ngroup 0 1 1 00\n", 3),
        ("kedge-packs 1\nprogram storage x\n", 2),
        ("kedge-packs 1\npack ../etc x\n", 2),
        ("kedge-packs 1\npack a x\nprogram a ../b\n", 3),
        ("kedge-packs 1\npack a x\nprogram a b 0\n", 3),
        ("kedge-packs 1\nbuilt-in 0\n", 2),
    ] {
        let malformed = Index::parse(wrong).unwrap_err();
        assert_eq!(malformed.line, line, "{wrong:?}: {malformed}");
    }
}

#[test]
fn no_cut_of_an_index_makes_the_parser_panic() {
    for end in 0..TEXT.len() {
        let _ = Index::parse(&TEXT[..end]);
    }
}
