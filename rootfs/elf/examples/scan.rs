//! scan
fn main() {
    let mut n = 0;
    for path in std::io::stdin().lines().map_while(Result::ok) {
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let t = std::time::Instant::now();
        let f = kedge_elf::check(&bytes);
        let ms = t.elapsed().as_millis();
        if ms > 200 {
            println!("SLOW {ms} ms {path} {}", bytes.len());
        }
        n += 1;
        for x in f {
            println!(
                "{:?} {:?} {:x?} {} [{}] {path}",
                x.severity,
                x.part,
                x.bytes,
                x.text,
                x.linker_says.unwrap_or_default()
            );
        }
    }
    println!("{n} files");
}
