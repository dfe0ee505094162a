//! The story that kedge was begun for: after a storage outage a few flipped bits in libcrypto.so.3 keep sshd from
//! starting. One command names the file, one puts it back, and OpenSSH's client logs in.

#[path = "corrupted_elf/story.rs"]
mod story;

use kedge_tests::scenario;

#[test]
fn from_sshd_does_not_start_to_a_login() {
    scenario(|folder| story::tell(folder, folder.path()));
}
