//! The damaged server has no mirror, but beside it is another machine of the same release. Its files are taken from there, each
//! proven by the damaged server's own package database: all that a web server shows of its root, or one that `nc` sends.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::child::Child;
use kedge_tests::network::until_it_listens;
use kedge_tests::{Finished, Folder, ImageTool, Network, Tree, Victim, scenario};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";
const PROGRAM: &str = "/usr/bin/ssh";
const LINK: &str = "/usr/lib/x86_64-linux-gnu/libwrap.so.0";

const PATIENCE: Duration = Duration::from_secs(240);

fn flip(tree: &Tree, name: &str, places: &[usize]) -> Result<()> {
    let mut content = tree.read(name)?;
    for &at in places {
        content[at] ^= 0x40;
    }
    tree.write(name, &content)
}

/// The damaged server's files, and those of the other machine.
struct Bench {
    kedge: ImageTool,
    here: Tree,
    there: Tree,
    network: Network,
}

impl Bench {
    fn new(folder: &Folder) -> Result<Self> {
        let victim = Victim::server()?;
        Ok(Self {
            kedge: ImageTool::extract(folder.path())?,
            here: victim.tree(&folder.path().join("here"))?,
            there: victim.tree(&folder.path().join("there"))?,
            network: Network::new(&folder.folder("network")?)?,
        })
    }

    fn repair(&self, more: &[&str]) -> Result<Finished> {
        let arguments = [&["repair", self.here.text()?], more].concat();
        let lan = self.network.lan();
        let said = self.kedge.run_at(Some(lan), &arguments, PATIENCE)?;
        println!(
            "--- repair {}: {:?}\n{}{}",
            more.join(" "),
            said.status,
            said.text(),
            said.stderr
        );
        Ok(said)
    }

    fn verify(&self) -> Result<Finished> {
        self.kedge
            .run(&["verify", self.here.text()?, "--json"], PATIENCE)
    }

    fn end(self) -> Result<()> {
        for tree in [self.here, self.there] {
            fs::remove_dir_all(tree.path())?;
        }
        Ok(())
    }
}

#[test]
fn a_web_server_s_root_has_what_is_damaged() {
    scenario(|folder: &Folder| {
        let mut bench = Bench::new(folder)?;
        let whole = [LIBRARY, PROGRAM].map(|name| bench.there.read(name));
        let log = bench.network.serve_http(bench.there.path())?;
        flip(&bench.here, LIBRARY, &[1_000_000, 2_000_000])?;
        bench.here.change(PROGRAM, |path| fs::remove_file(path))?;
        bench.here.change(LINK, |path| {
            fs::remove_file(path)?;
            fs::write(path, "")
        })?;
        // What is damaged there too is not taken.
        flip(&bench.there, PROGRAM, &[1000])?;

        let from = ["--from", "http://192.0.2.1"];
        let said = bench.repair(&[&["--all-damaged"], &from[..]].concat())?;
        let text = said.text();
        ensure!(said.status == Some(1), "ended with {:?}", said.status);
        for words in [
            "repaired: /usr/lib/x86_64-linux-gnu/libcrypto.so.3",
            "NOT repaired: /usr/bin/ssh",
            "NOT repaired: /usr/lib/x86_64-linux-gnu/libwrap.so.0",
        ] {
            ensure!(text.contains(words), "not said is {words:?}");
        }
        let [library, program] = whole;
        ensure!(bench.here.read(LIBRARY)? == library?, "it is another one");
        let asked = fs::read_to_string(&log)?;
        let asked = asked.matches("url:").count();
        println!("{asked} requests");

        // Each file as it is asked for, when the other machine is well. A link is nothing that a web server shows.
        let program = program?;
        bench.there.write(PROGRAM, &program)?;
        let url = format!("http://192.0.2.1{PROGRAM}");
        bench.repair(&[PROGRAM, "--from", &url])?.success()?;
        ensure!(bench.here.read(PROGRAM)? == program, "it is another one");
        let mounted = bench.there.text()?.to_string();
        bench.repair(&[LINK, "--from", &mounted])?.success()?;
        let verified = bench.verify()?;
        ensure!(verified.status == Some(0), "{}", verified.text());
        bench.end()
    });
}

#[test]
fn a_port_sends_what_is_damaged() {
    scenario(|folder: &Folder| {
        let bench = Bench::new(folder)?;
        let whole = bench.there.read(LIBRARY)?;
        let nc = |name: &str| -> Result<Child> {
            let file = bench.there.path().join(bench.there.place(name)?);
            let mut command = Command::new("sh");
            let script = "exec busybox nc -l -p 9000 <\"$1\"";
            command.args(["-c", script, "sh"]).arg(file);
            let log = folder.path().join("nc.log");
            let mut sender = bench.network.namespace().spawn(&mut command, &log)?;
            until_it_listens(&mut sender, 9000)?;
            Ok(sender)
        };
        let from = [LIBRARY, "--from", "tcp://192.0.2.1:9000"];
        flip(&bench.here, LIBRARY, &[1_000_000, 2_000_000])?;
        let damaged = bench.here.read(LIBRARY)?;

        // Nobody sends, or something else.
        let said = bench.repair(&from)?;
        ensure!(said.status == Some(1), "ended with {:?}", said.status);
        let other = nc(PROGRAM)?;
        let said = bench.repair(&from)?;
        ensure!(said.status == Some(1), "ended with {:?}", said.status);
        ensure!(bench.here.read(LIBRARY)? == damaged, "it was changed");
        drop(other);

        let _sender = nc(LIBRARY)?;
        bench.repair(&from)?.success()?;
        ensure!(bench.here.read(LIBRARY)? == whole, "it is another one");
        bench.end()
    });
}
