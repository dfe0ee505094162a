//! A recording of a terminal as an animated SVG, for pages that show pictures and run no scripts: the screens stand side by side, and a
//! CSS animation moves one after the other into the window. A line that is on several screens is stored once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::chart::escaped;
use crate::recording::Recording;
use crate::terminal::Terminal;

/// A cell of the terminal, and the border around all of them, in pixels.
const CELL: (f64, f64) = (8.0, 17.0);
const BORDER: f64 = 14.0;

/// What comes within so long is one picture.
const PICTURE: Duration = Duration::from_millis(120);

/// How long the last one stays.
const LAST: Duration = Duration::from_secs(6);

/// One screen, from when on it is shown.
struct Picture {
    at: Duration,
    screen: Terminal,
}

/// The SVG.
pub fn film(recording: &Recording) -> String {
    let pictures = pictures(recording);
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for line in pictures.iter().flat_map(|picture| picture.screen.lines()) {
        let next = lines.len();
        lines.entry(line).or_insert(next);
    }
    let (columns, rows) = (recording.width as f64, recording.height as f64);
    let (width, height) = (
        columns * CELL.0 + 2.0 * BORDER,
        rows * CELL.1 + 2.0 * BORDER,
    );
    let whole = pictures
        .last()
        .map_or(LAST, |picture| picture.at + LAST)
        .as_secs_f64();
    let last = pictures.len().saturating_sub(1) as f64 * width;
    let title = escaped(&recording.title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" xml:space=\"preserve\" \
         aria-labelledby=\"title\">\n<title id=\"title\">{title}</title>\n<style>\n{STYLE}\
         #f{{transform:translateX(-{last}px);animation:f {whole:.2}s steps(1,end) infinite}}\n@keyframes f{{"
    );
    for (n, picture) in pictures.iter().enumerate() {
        let percent = 100.0 * picture.at.as_secs_f64() / whole;
        let _ = write!(
            svg,
            "{percent:.2}%{{transform:translateX(-{}px)}}",
            n as f64 * width
        );
    }
    // Who wants no motion sees how it ends, and so does who knows no CSS animation.
    svg.push_str(
        "}\n@media (prefers-reduced-motion:reduce){#f{animation:none}}\n</style>\n<defs>\n",
    );
    for (line, n) in &lines {
        if !line.is_empty() {
            let length = line.chars().count() as f64 * CELL.0;
            let line = escaped(line);
            let _ = writeln!(
                svg,
                "<text id=\"l{n}\" textLength=\"{length}\">{line}</text>"
            );
        }
    }
    let _ = write!(
        svg,
        "<rect id=\"c\" width=\"{}\" height=\"{}\"/>\n</defs>\n<rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n<g id=\"f\">\n",
        CELL.0, CELL.1
    );
    for (n, picture) in pictures.iter().enumerate() {
        let _ = write!(
            svg,
            "<g transform=\"translate({} {BORDER})\">",
            n as f64 * width + BORDER
        );
        let (row, column) = picture.screen.cursor();
        let (x, y) = (column as f64 * CELL.0, row as f64 * CELL.1);
        let _ = write!(svg, "<use href=\"#c\" x=\"{x}\" y=\"{y}\"/>");
        for (row, line) in picture.screen.lines().iter().enumerate() {
            if !line.is_empty() {
                // Letters stand on their base line.
                let y = (row + 1) as f64 * CELL.1 - 4.0;
                let _ = write!(svg, "<use href=\"#l{}\" y=\"{y}\"/>", lines[line]);
            }
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// The screens that are seen, each other than the one before.
fn pictures(recording: &Recording) -> Vec<Picture> {
    let mut screen = Terminal::new(recording.width, recording.height);
    let mut pictures: Vec<Picture> = Vec::new();
    for (at, shown) in recording.played() {
        screen.feed(shown.as_bytes());
        match pictures.last_mut() {
            Some(last) if at.saturating_sub(last.at) < PICTURE => last.screen = screen.clone(),
            Some(last) if last.screen == screen => {}
            _ => pictures.push(Picture {
                at,
                screen: screen.clone(),
            }),
        }
    }
    pictures
}

/// A dark terminal on light and on dark pages.
const STYLE: &str = "\
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#e6edf3;white-space:pre}
.paper{fill:#0d1117;stroke:#3d444d}
#c{fill:#59636e}
";

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn film_of(pieces: &[(u64, &str)]) -> String {
        let begin = SystemTime::UNIX_EPOCH;
        let pieces: Vec<_> = pieces
            .iter()
            .map(|(after, text)| {
                (
                    begin + Duration::from_millis(*after),
                    text.as_bytes().to_vec(),
                )
            })
            .collect();
        film(&Recording::new(20, 4, "x", &pieces).unwrap())
    }

    #[test]
    fn each_screen_is_a_picture_and_each_line_is_there_once() {
        let svg = film_of(&[
            (0, "a < b\r\n"),
            (50, "c\r\n"),
            (1000, "d\r\n"),
            (2000, "\r"),
        ]);
        // The first two come at once; the last changes nothing.
        assert_eq!(svg.matches("<g transform").count(), 2, "{svg}");
        assert_eq!(svg.matches(">a &lt; b</text>").count(), 1, "{svg}");
        assert!(svg.contains("0.00%{transform:translateX(-0px)}"), "{svg}");
        // After 1 of 1 + 6 seconds, one window's width further.
        assert!(
            svg.contains("14.29%{transform:translateX(-188px)}"),
            "{svg}"
        );
    }

    #[test]
    fn who_wants_no_motion_sees_the_end() {
        let svg = film_of(&[(0, "a\r\n"), (1000, "b\r\n"), (2000, "c\r\n")]);
        assert!(svg.contains("#f{transform:translateX(-376px);"), "{svg}");
        assert!(svg.contains("prefers-reduced-motion"), "{svg}");
    }

    /// The picture in README is made of the recording beside it.
    #[test]
    fn the_story_s_picture_is_that_of_its_recording() {
        let cast = include_str!("../pictures/story.cast");
        let svg = include_str!("../pictures/story.svg");
        assert!(
            film(&Recording::read(cast).unwrap()) == svg,
            "story.svg is not film(story.cast)"
        );
        assert!(
            svg.len() < 150_000,
            "{} bytes are much for a page",
            svg.len()
        );
    }
}
