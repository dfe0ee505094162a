//! `cargo xtask bench story`: tells the story of the corrupted ELF once more, and keeps what was to be seen: draws
//! tests/pictures/story.svg, and writes tests/pictures/story.cast, which `asciinema play` plays.

#[path = "../scenarios/corrupted_elf/story.rs"]
mod story;

use std::path::Path;

use anyhow::Result;
use kedge_tests::Folder;

fn main() -> Result<()> {
    let folder = Folder::new("bench.story")?;
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
    story::tell(&folder, &pictures)?;
    println!("tests/pictures/story.cast and story.svg are new");
    Ok(())
}
