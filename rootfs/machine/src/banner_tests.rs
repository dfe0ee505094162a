//! Banners of machines that are made up.

use super::*;
use crate::disks::Partition;
use crate::{Content, Memory, Plate};

fn machine(links: usize, disks: usize) -> Machine {
    Machine {
        version: "0.1.0".into(),
        kernel: "6.12.117".into(),
        firmware: "UEFI",
        plate: Plate {
            vendor: Some("Dell Inc.".into()),
            product: Some("PowerEdge R640".into()),
            serial: Some("7XK2P53".into()),
        },
        cpus: 32,
        memory: Memory {
            installed: Some(64 << 30),
            total: 63 << 30,
            available: 62 << 30,
        },
        links: (0..links).map(link).collect(),
        disks: (0..disks).map(disk).collect(),
    }
}

fn link(n: usize) -> Link {
    Link {
        name: format!("eth{n}"),
        mac: format!("52:54:00:12:34:{n:02x}"),
        driver: Some("ixgbe".into()),
        state: if n == 7 {
            State::Up {
                speed: Some(10_000),
            }
        } else {
            State::NoCarrier
        },
    }
}

fn disk(n: usize) -> Disk {
    let part = |number: u32, bytes, kind, label: Option<&str>| Partition {
        name: format!("sd{n}{number}"),
        number,
        bytes,
        content: Some(Content {
            kind,
            label: label.map(String::from),
        }),
    };
    Disk {
        name: format!("sd{}", char::from(b'a' + (n % 26) as u8)),
        model: "SAMSUNG MZ7LH480HAHQ-00005".into(),
        bytes: 480_103_981_056,
        bus: "SATA".into(),
        rotates: false,
        looked: Looked::Yes,
        content: None,
        partitions: vec![
            part(1, 536_870_912, "vfat", Some("EFI")),
            part(2, 1_073_741_824, "ext4", Some("boot")),
            part(3, 478_000_000_000, "LUKS2", None),
        ],
    }
}

#[test]
fn a_common_server() {
    assert_eq!(
        short(&machine(2, 2)),
        "\
kedge    0.1.0, Linux 6.12.117, started by UEFI
Machine  Dell Inc. PowerEdge R640, serial number 7XK2P53
Memory   64 GiB installed, 62 GiB free; 32 CPUs
Links    eth0      no carrier   52:54:00:12:34:00  ixgbe
         eth1      no carrier   52:54:00:12:34:01  ixgbe
Disks    sda        480 GB  SATA SAMSUNG MZ7LH480HAHQ-00005
           1 vfat \"EFI\" 537 MB, 2 ext4 \"boot\" 1.07 GB, 3 LUKS2 478 GB
         sdb        480 GB  SATA SAMSUNG MZ7LH480HAHQ-00005
           1 vfat \"EFI\" 537 MB, 2 ext4 \"boot\" 1.07 GB, 3 LUKS2 478 GB
"
    );
}

#[test]
fn never_more_than_11_lines_of_80_columns() {
    for links in 0..20 {
        for disks in 0..40 {
            let text = short(&machine(links, disks));
            assert!(
                text.lines().count() <= 11,
                "{links} links, {disks} disks:\n{text}"
            );
            assert!(
                text.lines().all(|line| line.len() < 80 && line.is_ascii()),
                "{text}"
            );
            // Whatever is left out is counted.
            let shown = |stem: &str| text.lines().filter(|l| l[9..].starts_with(stem)).count();
            let more = |what: &str| {
                text.lines()
                    .find(|line| line.contains(what))
                    .and_then(|line| line.split_whitespace().nth_back(5)?.parse::<usize>().ok())
            };
            if shown("eth") != links {
                assert_eq!(more("more links:"), Some(links - shown("eth")), "{text}");
            }
            if shown("sd") != disks {
                assert_eq!(more("more disks:"), Some(disks - shown("sd")), "{text}");
            }
        }
    }
}

#[test]
fn a_link_that_carries_is_shown_before_those_that_do_not() {
    assert!(short(&machine(20, 20)).contains("eth7      up 10 Gb/s"));
}

#[test]
fn the_serial_number_is_never_cut_off() {
    let mut machine = machine(1, 1);
    machine.plate.product = Some("x".repeat(200));
    machine.plate.serial = Some("SERIAL-0123456789".into());
    assert!(short(&machine).contains("..., serial number SERIAL-0123456789\n"));
}

#[test]
fn a_machine_without_anything_says_so() {
    let mut machine = machine(0, 0);
    machine.plate = Plate::default();
    let text = short(&machine);
    assert!(text.contains("Machine  of unknown make, no serial number\n"));
    assert!(text.contains("Links    none") && text.contains("Disks    none"));
}

#[test]
fn disks_that_were_not_read_say_why() {
    let mut machine = machine(1, 3);
    machine.disks[0].looked = Looked::No;
    machine.disks[1].looked = Looked::NoAnswer;
    machine.disks[2].partitions.clear();
    let text = short(&machine);
    assert!(text.contains("not looked at, it can be removed: kedge banner --all"));
    assert!(text.contains("no answer within 2 seconds"));
    assert!(text.contains("nothing that is known here"));
}
