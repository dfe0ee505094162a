//! flips
use kedge_elf::{Part, Severity, check, parts};
fn main() {
    let mut args = std::env::args().skip(1);
    let n: u64 = args.next().unwrap().parse().unwrap();
    let files: Vec<String> = args.collect();
    let mut seed = 12345u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for file in files {
        let mut bytes = std::fs::read(&file).unwrap();
        let t = std::time::Instant::now();
        assert!(check(&bytes).is_empty());
        let took = t.elapsed();
        let ps = parts(&bytes);
        print!("{file} {:?}", took);
        for part in [
            Part::Relocations,
            Part::Header,
            Part::ProgramHeaders,
            Part::Dynamic,
            Part::Relocations,
            Part::Symbols,
            Part::Strings,
            Part::Hash,
            Part::Versions,
            Part::Notes,
            Part::SectionHeaders,
        ] {
            let ranges: Vec<_> = ps
                .iter()
                .filter(|p| p.0 == part)
                .map(|p| p.1.clone())
                .collect();
            let total: u64 = ranges.iter().map(|r| (r.end - r.start) * 8).sum();
            if total == 0 {
                continue;
            }
            let all = total <= n;
            let (mut found, mut tried) = (0u64, 0u64);
            for i in 0..total.min(n) {
                let mut bit = if all { i } else { next() % total };
                let mut at = 0;
                for r in &ranges {
                    let len = (r.end - r.start) * 8;
                    if bit < len {
                        at = r.start + bit / 8;
                        break;
                    }
                    bit -= len;
                }
                bytes[at as usize] ^= 1 << (bit % 8);
                let f = check(&bytes);
                bytes[at as usize] ^= 1 << (bit % 8);
                tried += 1;
                if f.iter().any(|f| f.severity >= Severity::Damage) {
                    found += 1;
                } else if std::env::var("MISS").is_ok() {
                    eprintln!(
                        "MISS {part:?} {at:#x} bit {} byte {:#04x} {file} odd={}",
                        bit % 8,
                        bytes[at as usize],
                        f.len()
                    );
                }
            }
            print!(
                " {part:?} {found}/{tried}={:.1}%",
                100.0 * found as f64 / tried as f64
            );
        }
        println!();
    }
}
