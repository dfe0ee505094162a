//! Tries it.
use kedge_packages::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let root = kedge_sysroot::Sysroot::open(a[1].as_ref()).unwrap();
    let family = match &*a[2] {
        "dpkg" => Family::Dpkg,
        "rpm" => Family::Rpm,
        "pacman" => Family::Pacman,
        _ => Family::Apk,
    };
    let p = Package {
        family,
        name: a[3].clone(),
        version: a[4].clone(),
        architecture: a[5].clone(),
    };
    let from = a.get(6).map(|f| {
        if f.contains("://") {
            kedge_sources::From::Url(f.clone())
        } else {
            kedge_sources::From::Path(f.into())
        }
    });
    let mut pr = kedge_progress::Progress::new("find");
    match kedge_sources::find(&root, &p, from.as_ref(), &mut pr) {
        Ok(kedge_sources::Found::Exact(c)) => {
            for c in c {
                println!("EXACT {} {:?} {:?}", c.location, c.size, c.package);
                for t in &c.trust {
                    println!("  {t}");
                }
                let mut f = std::fs::File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .open("/tmp/kedge-find-out")
                    .unwrap();
                println!("  fetch: {:?}", kedge_sources::fetch(&c, &mut f, &mut pr));
            }
        }
        Ok(kedge_sources::Found::Others(c)) => {
            for c in c {
                println!("OTHER {} {}", c.package.version, c.location);
            }
        }
        Err(e) => println!("ERROR {e}"),
    }
}
