use std::path::Path;
use std::time::Instant;
fn main() {
    let mut args = std::env::args().skip(1);
    let root = args.next().unwrap();
    let t = Instant::now();
    let root = kedge_sysroot::Sysroot::open(Path::new(&root)).unwrap();
    let dbs = kedge_packages::open(&root).unwrap();
    println!("open {:?}", t.elapsed());
    let paths: Vec<String> = args.collect();
    let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
    for db in &dbs {
        println!("{:?} {} packages", db.family(), db.packages().len());
        let t = Instant::now();
        let o = db.owners(&paths).unwrap();
        println!("owners {:?}", t.elapsed());
        for (p, o) in paths.iter().zip(&o) {
            println!(
                "  {} {:?}",
                p.display(),
                o.iter()
                    .map(|&i| &db.packages()[i].name)
                    .collect::<Vec<_>>()
            );
        }
        if let Some(&i) = o.first().and_then(|o| o.first()) {
            let t = Instant::now();
            let mut n = 0;
            db.entries(i, &mut |_| n += 1).unwrap();
            println!("entries of {} {n} {:?}", db.packages()[i].name, t.elapsed());
        }
        let t = Instant::now();
        let mut n = 0;
        for i in 0..db.packages().len() {
            db.entries(i, &mut |_| n += 1).unwrap();
        }
        println!("all entries {n} {:?} {:?}", t.elapsed(), db.complaints());
    }
    if std::env::var("HASH").is_ok() {
        use std::io::Read;
        for db in &dbs {
            for i in 0..db.packages().len() {
                db.entries(i, &mut |e| {
                    if let kedge_packages::Kind::File {
                        digest: Some(d), ..
                    } = e.kind
                    {
                        if e.configuration {
                            return;
                        }
                        let got = root.open_file(&e.path).ok().map(|mut f| {
                            let mut h = kedge_digest::Hasher::new(d.algorithm());
                            let mut b = vec![0; 1 << 20];
                            loop {
                                let n = f.read(&mut b).unwrap();
                                if n == 0 {
                                    break;
                                }
                                h.update(&b[..n]);
                            }
                            h.finish()
                        });
                        if got != Some(d) {
                            println!("BAD /{} {:?}", e.path.display(), got);
                        }
                    }
                })
                .unwrap();
            }
        }
    }
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", s.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
