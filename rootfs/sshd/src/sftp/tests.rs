//! The server as a client sees it: bytes in, bytes out. What OpenSSH's sftp does with it is in
//! tests/scenarios/ssh_host.rs.

use super::*;

/// One request's bytes.
fn request(kind: u8, id: u32, build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = vec![kind];
    payload.put_u32(id);
    build(&mut payload);
    let mut whole = Vec::new();
    whole.put_string(&payload);
    whole
}

/// The answers, without their lengths.
fn answers(input: &[u8]) -> Vec<Vec<u8>> {
    let mut output = Vec::new();
    run(input, &mut output).unwrap();
    let mut reader = Reader::new(&output);
    let mut answers = Vec::new();
    while !reader.rest().is_empty() {
        answers.push(reader.string().unwrap().to_vec());
    }
    answers
}

/// The code of a STATUS for request `id`.
fn code(answer: &[u8], id: u32) -> u32 {
    let mut reader = Reader::new(answer);
    assert_eq!(reader.byte(), Ok(kind::STATUS));
    assert_eq!(reader.u32(), Ok(id));
    reader.u32().unwrap()
}

#[test]
fn it_says_its_version_and_what_it_can() {
    let answers = answers(&[0, 0, 0, 5, kind::INIT, 0, 0, 0, 3]);
    let mut reader = Reader::new(&answers[0]);
    assert_eq!((reader.byte(), reader.u32()), (Ok(kind::VERSION), Ok(3)));
    assert_eq!(reader.text(), Ok("posix-rename@openssh.com"));
}

#[test]
fn each_request_cut_short_is_answered_as_malformed() {
    let kinds = (kind::OPEN..=kind::SYMLINK).chain([kind::EXTENDED]);
    for (id, kind) in kinds.enumerate() {
        let id = id as u32;
        for cut in [&[][..], &[0, 0, 0], &[0, 0, 0, 9, b'x'], &[0xff; 4]] {
            let answers = answers(&request(kind, id, |out| out.extend_from_slice(cut)));
            assert_eq!(code(&answers[0], id), BAD_MESSAGE, "request {kind}");
        }
    }
}

#[test]
fn unknown_requests_and_handles_are_refused_and_nothing_else_suffers() {
    let mut input = request(99, 1, |_| {});
    input.extend(request(kind::CLOSE, 2, |out| out.put_string(&[0; 4])));
    input.extend(request(kind::READ, 3, |out| {
        out.put_string(b"nonsense");
        out.put_u64(0);
        out.put_u32(1);
    }));
    input.extend(request(kind::EXTENDED, 4, |out| {
        out.put_string(b"what@ever")
    }));
    input.extend(request(kind::REALPATH, 5, |out| out.put_string(b"/")));
    let answers = answers(&input);
    assert_eq!(code(&answers[0], 1), OP_UNSUPPORTED);
    assert_eq!(code(&answers[1], 2), FAILURE);
    assert_eq!(code(&answers[2], 3), FAILURE);
    assert_eq!(code(&answers[3], 4), OP_UNSUPPORTED);
    assert_eq!(answers[4][0], kind::NAME);
}

#[test]
fn an_impossible_length_ends_the_session() {
    for length in [[0; 4], [0xff; 4], (LONGEST + 1).to_be_bytes()] {
        assert!(run(&length[..], Vec::new()).is_err());
    }
}

/// It would never come to an end: what is read grows by what is written.
#[test]
fn a_file_is_not_copied_into_itself_by_two_handles() {
    let folder = std::env::temp_dir().join(format!("kedge-copy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (one, other) = (folder.join("one"), folder.join("other"));
    std::fs::write(&one, "one").unwrap();
    let mut input = Vec::new();
    for (path, id) in [(&one, 1), (&one, 2), (&other, 3)] {
        input.extend(request(kind::OPEN, id, |out| {
            out.put_string(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
            out.put_u32(1 | 2 | 8);
            out.put_u32(0);
        }));
    }
    let copy = |to: u8, length| {
        request(kind::EXTENDED, 4, |out| {
            out.put_string(b"copy-data");
            out.put_string(&[0; 4]);
            out.put_u64(0);
            out.put_u64(length);
            out.put_string(&[0, 0, 0, to]);
            out.put_u64(3);
        })
    };
    // A length, so that even a server that does it comes to an end.
    input.extend([copy(0, 3), copy(1, 3), copy(2, 0)].concat());
    let answers = answers(&input);
    assert_eq!(code(&answers[3], 4), FAILURE);
    assert_eq!(code(&answers[4], 4), FAILURE);
    assert_eq!(code(&answers[5], 4), OK);
    assert_eq!(std::fs::read_to_string(&one).unwrap(), "one");
    assert_eq!(std::fs::read(&other).unwrap(), b"\0\0\0one");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_rename_of_version_3_replaces_nothing() {
    let folder = std::env::temp_dir().join(format!("kedge-sftp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (one, other) = (folder.join("one"), folder.join("other"));
    std::fs::write(&one, "one").unwrap();
    std::fs::write(&other, "other").unwrap();
    let rename = request(kind::RENAME, 7, |out| {
        for path in [&one, &other] {
            out.put_string(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        }
    });
    assert_eq!(code(&answers(&rename)[0], 7), FAILURE);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "other");
    std::fs::remove_file(&other).unwrap();
    assert_eq!(code(&answers(&rename)[0], 7), OK);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "one");
    std::fs::remove_dir_all(&folder).unwrap();
}
