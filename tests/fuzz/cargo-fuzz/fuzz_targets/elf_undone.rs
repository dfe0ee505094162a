#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kedge_fuzz::elf_undone(data));
