//! Who is there: RFC 4252, by public key, and by password while a one-time password exists.
//!
//! A wrong user, a key that is not in the list and a key that may not come from this address get
//! the same answer: nothing can be learnt from it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::key_exchange::next;
use super::transport::Transport;
use super::{Error, message};
use crate::authorized_keys::{self, Options};
use crate::password::Store;
use crate::public_key::{self, fingerprint};
use kedge_ssh_wire::{Put, Reader};

/// The only user of a rescue system.
const USER: &str = "root";

/// Failed attempts on one connection: OpenSSH's number. An agent with more keys than that has to be
/// told which (`ssh -i`).
const ATTEMPTS: u32 = 6;

/// Messages before a login, of whatever kind.
const MESSAGES: u32 = 64;

/// How long a wrong password takes.
pub(crate) const DELAY: Duration = Duration::from_secs(1);

/// What decides.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Whose keys are taken; read at each attempt.
    pub(crate) authorized_keys: PathBuf,
    /// The one-time password.
    pub(crate) password: Store,
    /// Where the client is.
    pub(crate) address: IpAddr,
}

/// Somebody was let in.
#[derive(Debug)]
pub(crate) struct Login {
    /// What it may do.
    pub(crate) options: Options,
    /// How it was shown, for the log.
    pub(crate) by: String,
}

/// Runs until somebody is let in.
pub(crate) fn authenticate(
    transport: &mut Transport,
    session_id: &[u8; 32],
    policy: &Policy,
    deadline: Instant,
) -> Result<Login, Error> {
    let mut failures = 0;
    let mut service = false;
    for _ in 0..MESSAGES {
        let payload = next(transport, deadline)?;
        let mut reader = Reader::new(&payload);
        match reader.byte()? {
            message::SERVICE_REQUEST => {
                if reader.string()? != b"ssh-userauth" {
                    return Err(Error::OutOfPlace(message::SERVICE_REQUEST));
                }
                service = true;
                transport.send(|out| {
                    out.put_byte(message::SERVICE_ACCEPT);
                    out.put_string(b"ssh-userauth");
                });
            }
            message::USERAUTH_REQUEST if service => {
                match request(transport, session_id, policy, &payload)? {
                    Answer::In(login) => {
                        transport.send(|out| out.put_byte(message::USERAUTH_SUCCESS));
                        transport.logged_in();
                        return Ok(login);
                    }
                    Answer::Go => {}
                    Answer::No { counts } => {
                        failures += u32::from(counts);
                        if failures >= ATTEMPTS {
                            return Err(Error::Attempts);
                        }
                        let methods: &[u8] = if policy.password.exists() {
                            b"publickey,password"
                        } else {
                            b"publickey"
                        };
                        transport.send(|out| {
                            out.put_byte(message::USERAUTH_FAILURE);
                            out.put_string(methods);
                            out.put_byte(0);
                        });
                    }
                }
            }
            message::IGNORE | message::DEBUG | message::UNIMPLEMENTED | message::EXT_INFO => {}
            message::DISCONNECT => return Err(Error::Disconnected),
            other => return Err(Error::OutOfPlace(other)),
        }
    }
    Err(Error::Attempts)
}

enum Answer {
    In(Login),
    /// The key would do: now prove that it is yours.
    Go,
    No {
        counts: bool,
    },
}

fn request(
    transport: &mut Transport,
    session_id: &[u8; 32],
    policy: &Policy,
    payload: &[u8],
) -> Result<Answer, Error> {
    let mut reader = Reader::new(payload);
    reader.byte()?;
    let user = reader.string()?;
    let service = reader.string()?;
    let method = reader.string()?;
    let known = user == USER.as_bytes() && service == b"ssh-connection";
    match method {
        b"none" => Ok(Answer::No { counts: false }),
        b"publickey" => {
            let signed = reader.boolean()?;
            let algorithm = reader.text()?;
            let blob = reader.string()?;
            let fits = public_key::fits(blob, algorithm);
            let entry = authorized(policy, blob).filter(|_| known && fits);
            let signed_length = payload.len() - reader.rest().len();
            let Some(options) = entry else {
                return Ok(Answer::No { counts: true });
            };
            if !signed {
                reader.end()?;
                transport.send(|out| {
                    out.put_byte(message::USERAUTH_PK_OK);
                    out.put_string(algorithm.as_bytes());
                    out.put_string(blob);
                });
                return Ok(Answer::Go);
            }
            let signature = reader.string()?;
            reader.end()?;
            let mut text = Vec::new();
            text.put_string(session_id);
            text.extend_from_slice(&payload[..signed_length]);
            if !public_key::verify(blob, algorithm, &text, signature) {
                return Ok(Answer::No { counts: true });
            }
            let kind = public_key::type_of(blob).unwrap_or_default();
            Ok(Answer::In(Login {
                options,
                by: format!("{kind} key {}", fingerprint(blob)),
            }))
        }
        b"password" => {
            let change = reader.boolean()?;
            let password = reader.text()?;
            if !change {
                reader.end()?;
            }
            if known && !change && policy.password.consume(password) {
                return Ok(Answer::In(Login {
                    options: Options::default(),
                    by: "the one-time password, which is used up now".into(),
                }));
            }
            std::thread::sleep(DELAY);
            Ok(Answer::No { counts: true })
        }
        _ => Ok(Answer::No { counts: true }),
    }
}

/// What the owner of this key may do, if it may be used from where it is used.
fn authorized(policy: &Policy, blob: &[u8]) -> Option<Options> {
    // A file that cannot be read holds no keys.
    authorized_keys::load(&policy.authorized_keys)
        .unwrap_or_default()
        .into_iter()
        .find(|entry| entry.key == blob && entry.options.allows(policy.address))
        .map(|entry| entry.options)
}
