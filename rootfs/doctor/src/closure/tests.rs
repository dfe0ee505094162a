use super::*;

/// `ldd` is the reference.
#[test]
fn the_libraries_are_those_that_ldd_lists() {
    let root = Sysroot::open(Path::new("/")).unwrap();
    for program in [
        "/usr/sbin/sshd",
        "/usr/bin/curl",
        "/bin/ls",
        "/usr/bin/qemu-system-x86_64",
    ] {
        let closure = Closure::of(&root, Path::new(program)).unwrap();
        assert_eq!(closure.absent, [], "{program}");
        let ours: Vec<String> = closure
            .members
            .iter()
            .map(|member| format!("/{}", member.path.display()))
            .collect();
        let ldd = std::process::Command::new("ldd")
            .arg(program)
            .output()
            .unwrap();
        let text = String::from_utf8(ldd.stdout).unwrap();
        let mut count = 0;
        for line in text.lines().filter(|line| line.contains("=> /")) {
            let path = line
                .split("=> ")
                .nth(1)
                .unwrap()
                .split(" (")
                .next()
                .unwrap();
            assert!(
                ours.iter().any(|our| our == path),
                "{program}: {path} of {ours:?}"
            );
            count += 1;
        }
        let libraries = closure.members.iter().filter(|m| m.role == Role::Library);
        assert!(libraries.filter(|m| m.wanted_by.is_some()).count() >= count);
        assert!(count > 1, "{program}");
    }
}
