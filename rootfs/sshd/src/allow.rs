//! `ssh-allow`: says at the console who may log in.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::access;
use crate::authorized_keys;
use crate::password::{self, Store, VALID};
use crate::public_key;
use crate::sources::{Source, fetch, lines_of};

/// What `kedge help ssh-allow` says.
pub const HELP: &str = "\
usage: kedge ssh-allow [KEY... | URL... | --file FILE]
       kedge ssh-allow --password
       kedge ssh-allow --list | --revoke WHICH

Says who may log in as root by SSH. Without an argument it asks for a public
key or a URL, one line; paste it. A key takes effect at the next login.

  --file FILE     every key in FILE (- is standard input)
  --password      makes a password of four words, 48 bits, shown here only; it
                  is valid for one login and 30 minutes
  --list          who may log in; data on standard output
  --revoke WHICH  takes a key out, by fingerprint or by its comment; 'password'
                  is the one-time password, 'all' is every key. Who is in stays

Options of a line that are kept: command= from= restrict no-pty pty
no-port-forwarding port-forwarding. A line with any other is refused. Keys may
be Ed25519, ECDSA (256, 384), RSA (2048 bits or more), or on a FIDO token.

Exit status: 0, 1 when nothing was allowed, revoked or listed, 2 for wrong use.

  ssh-allow ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN0... me@home
  ssh-allow https://git.example.org/me.keys
  ssh-allow --file /mnt/root/.ssh/authorized_keys
";

/// Where things are.
struct Places {
    authorized_keys: PathBuf,
    run: PathBuf,
}

/// Runs `kedge ssh-allow`.
pub fn main(words: &[String]) -> ExitCode {
    let mut places = Places {
        authorized_keys: access::AUTHORIZED_KEYS.into(),
        run: access::RUN.into(),
    };
    let mut words: &[String] = words;
    // The same as those of sshd, for a server that runs elsewhere.
    while let [name, value, rest @ ..] = words {
        match name.as_str() {
            "--authorized-keys" => places.authorized_keys = value.into(),
            "--run" => places.run = value.into(),
            _ => break,
        }
        words = rest;
    }
    let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] => ask().and_then(|line| places.allow_each(&[line])),
        ["--password"] => places.password(),
        ["--list"] => places.list(),
        ["--revoke", which] => places.revoke(which),
        ["--file", file] => places.allow_file(file),
        [first, ..] if first.starts_with('-') && !first.starts_with("-----") => {
            eprintln!(
                "kedge: ssh-allow does not take '{}' like that; kedge help ssh-allow says more",
                first.escape_debug()
            );
            return ExitCode::from(2);
        }
        words => places.allow_each(&split(words)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("kedge: {what}");
            ExitCode::FAILURE
        }
    }
}

/// One line from the terminal.
fn ask() -> Result<String, String> {
    eprint!("Paste a public key (ssh-ed25519 AAAA...) or a URL, then Enter: ");
    let _ = io::stderr().flush();
    // The kernel cuts a line of a terminal at 4095 bytes; the longest key has 1400.
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    match read {
        Ok(_) if !line.trim().is_empty() => Ok(line),
        Ok(_) => Err("nothing was typed, so nothing was changed".into()),
        Err(e) => Err(format!("cannot read from the terminal: {e}")),
    }
}

/// Keys as the shell has split them: a line without quotes is several words.
fn split(words: &[&str]) -> Vec<String> {
    // Several keys in quotes, several bare ones, several URLs; or one line, whatever it is.
    if words.iter().all(|word| Source::of_line(word).is_ok()) {
        words.iter().map(|word| (*word).to_string()).collect()
    } else {
        vec![words.join(" ")]
    }
}

impl Places {
    fn allow_each(&self, items: &[String]) -> Result<(), String> {
        let mut lines = Vec::new();
        for item in items {
            match Source::of_line(item).map_err(|why| why.to_string())? {
                Source::Line(line) => lines.push(line),
                Source::Url(url) => {
                    eprintln!("fetching {url} ...");
                    let (fetched, wrong) = fetch(&url)?;
                    for why in wrong {
                        eprintln!("a line is skipped: {why}");
                    }
                    lines.extend(fetched);
                }
            }
        }
        self.allow(&lines)
    }

    fn allow_file(&self, file: &str) -> Result<(), String> {
        let text = match file {
            "-" => io::read_to_string(io::stdin()),
            file => std::fs::read_to_string(file),
        };
        let text = text.map_err(|e| format!("cannot read {file}: {e}"))?;
        let (lines, wrong) = lines_of(&text);
        if lines.is_empty() {
            let why = wrong
                .first()
                .map_or("there is no key in it".into(), ToString::to_string);
            return Err(format!("{file}: {why}"));
        }
        for why in wrong {
            eprintln!("a line is skipped: {why}");
        }
        self.allow(&lines)
    }

    fn allow(&self, lines: &[String]) -> Result<(), String> {
        let failed = |e: io::Error| format!("cannot write {}: {e}", self.authorized_keys.display());
        let added = authorized_keys::add(&self.authorized_keys, lines).map_err(failed)?;
        for line in lines {
            if let Ok(Some(entry)) = authorized_keys::parse(line) {
                eprintln!("allowed: {}", describe(&entry));
            }
        }
        if added == 0 {
            eprintln!("(it was allowed before)");
        }
        self.tell_how();
        Ok(())
    }

    fn password(&self) -> Result<(), String> {
        let store = Store::new(&self.run);
        let password = password::make().map_err(|e| format!("no randomness: {e}"))?;
        store
            .set(&password)
            .map_err(|e| format!("cannot write to {}: {e}", self.run.display()))?;
        let minutes = VALID.as_secs() / 60;
        eprintln!("one login within {minutes} minutes, with the password");
        // What somebody reads out or types is data.
        println!("{password}");
        self.tell_how();
        Ok(())
    }

    /// What to type at the other end.
    fn tell_how(&self) {
        let read = |name| std::fs::read_to_string(self.run.join(name)).unwrap_or_default();
        let fingerprint = read(access::FINGERPRINT);
        let port = read(access::PORT);
        let option = match port.trim() {
            "" | "22" => String::new(),
            port => format!(" -p {port}"),
        };
        if !fingerprint.is_empty() {
            eprintln!(
                "log in by: ssh{option} root@ADDRESS    (host key {})",
                fingerprint.trim()
            );
        }
    }

    fn list(&self) -> Result<(), String> {
        let entries = authorized_keys::load(&self.authorized_keys)
            .map_err(|e| format!("cannot read {}: {e}", self.authorized_keys.display()))?;
        let mut text = String::new();
        for entry in &entries {
            text.push_str(&describe(entry));
            text.push('\n');
        }
        if let Some(left) = Store::new(&self.run).left() {
            let minutes = left.as_secs().div_ceil(60);
            text.push_str(&format!("password (one login, {minutes} minutes left)\n"));
        }
        if text.is_empty() {
            return Err("nobody may log in; ssh-allow KEY or ssh-allow --password lets one".into());
        }
        io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| format!("cannot write to stdout: {e}"))
    }

    fn revoke(&self, which: &str) -> Result<(), String> {
        let failed =
            |e: io::Error| format!("cannot change {}: {e}", self.authorized_keys.display());
        let gone = if which == "password" {
            usize::from(
                Store::new(&self.run)
                    .revoke()
                    .map_err(|e| format!("cannot change {}: {e}", self.run.display()))?,
            )
        } else {
            authorized_keys::remove(&self.authorized_keys, which).map_err(failed)?
        };
        if gone == 0 {
            return Err(format!(
                "there is no '{}'; ssh-allow --list says what there is",
                which.escape_debug()
            ));
        }
        eprintln!("revoked: {gone}");
        Ok(())
    }
}

fn describe(entry: &authorized_keys::Entry) -> String {
    let kind = public_key::type_of(&entry.key).unwrap_or_default();
    let fingerprint = public_key::fingerprint(&entry.key);
    // A comment is what somebody else wrote: it must not drive the terminal.
    let comment = entry.comment.escape_debug();
    format!("{kind} {fingerprint} {comment}")
        .trim_end()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_the_shell_split_are_one_key() {
        let mut blob = Vec::new();
        kedge_ssh_wire::Put::put_string(&mut blob, b"ssh-ed25519");
        kedge_ssh_wire::Put::put_string(&mut blob, &[1; 32]);
        let key = crate::base64::encode(&blob);
        let whole = format!("ssh-ed25519 {key} me");
        assert_eq!(split(&["ssh-ed25519", &key, "me"]).join("\n"), whole);
        assert_eq!(split(&[&whole, &whole]), [whole.clone(), whole]);
        assert_eq!(
            split(&["http://a/", "http://b/"]),
            ["http://a/", "http://b/"]
        );
        assert_eq!(split(&["what", "is", "this"]), ["what is this"]);
    }
}
