//! What was found, for people and for programs.

use std::io::{self, Write, stdout};
use std::sync::Arc;
use std::time::Duration;

use kedge_json::{array, object, text};

use crate::probe::Host;
use crate::scan::Tally;
use crate::wanted::Wanted;

/// Collects hosts; a table is written as they come, JSON at the end.
#[derive(Debug)]
pub(crate) struct Report {
    wanted: Arc<Wanted>,
    all: bool,
    json: bool,
    found: bool,
    /// The objects of `hosts`.
    objects: Vec<String>,
    failure: Option<io::Error>,
}

impl Report {
    pub(crate) fn new(wanted: Arc<Wanted>, all: bool, json: bool) -> Report {
        Report {
            wanted,
            all,
            json,
            found: false,
            objects: Vec::new(),
            failure: None,
        }
    }

    /// Takes note of a host. Returns whether to look for more.
    pub(crate) fn host(&mut self, host: Host) -> bool {
        let lists = self.wanted.everything();
        let is_match = host.keys.iter().any(|key| self.wanted.is(&key.fingerprint));
        if !lists && !is_match {
            return true;
        }
        self.found = true;
        if self.json {
            self.objects.push(self.object(&host));
        } else {
            let rows = host
                .keys
                .iter()
                .filter(|key| lists || self.wanted.is(&key.fingerprint))
                .map(|key| {
                    format!(
                        "{:<15}  {:<19}  {}  {}\n",
                        host.address.ip(),
                        key.kind,
                        key.fingerprint,
                        host.banner
                    )
                });
            self.write(&rows.collect::<String>());
        }
        self.failure.is_none() && (lists || self.all)
    }

    fn object(&self, host: &Host) -> String {
        let keys = host.keys.iter().map(|key| {
            object(&[
                ("type", text(&key.kind)),
                ("fingerprint", text(&key.fingerprint)),
                ("match", self.wanted.is(&key.fingerprint).to_string()),
            ])
        });
        object(&[
            ("address", text(&host.address.ip().to_string())),
            ("port", host.address.port().to_string()),
            ("banner", text(&host.banner)),
            ("keys", array(keys)),
        ])
    }

    fn write(&mut self, out: &str) {
        match stdout()
            .write_all(out.as_bytes())
            .and_then(|()| stdout().flush())
        {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => self.failure = Some(e),
            _ => {}
        }
    }

    /// Says how far it came. Whether anything was found, or why that could not be written.
    pub(crate) fn finish(mut self, total: u64, tally: &Tally, took: Duration) -> io::Result<bool> {
        let seconds = took.as_secs_f64();
        eprintln!(
            "find-host: tried {} of {total} addresses in {seconds:.1} s: {} open, {} of them \
             SSH; {} closed, {} unreachable, {} silent",
            tally.tried, tally.open, tally.ssh, tally.closed, tally.unreachable, tally.silent
        );
        if self.json {
            let scan = object(&[
                ("addresses", total.to_string()),
                ("tried", tally.tried.to_string()),
                ("open", tally.open.to_string()),
                ("ssh", tally.ssh.to_string()),
                ("closed", tally.closed.to_string()),
                ("unreachable", tally.unreachable.to_string()),
                ("silent", tally.silent.to_string()),
                ("seconds", format!("{seconds:.3}")),
            ]);
            let hosts = array(std::mem::take(&mut self.objects).into_iter());
            let all = object(&[("hosts", hosts), ("scan", scan)]);
            self.write(&(all + "\n"));
        }
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.found),
        }
    }
}
