//! A chart of horizontal bars as SVG, for pages that are read on light and on dark backgrounds.
//!
//! It draws its own background, which follows the reader's choice of light or dark where the viewer tells
//! it (`prefers-color-scheme`): text that is only coloured for one of the two cannot be read on the other.

use std::fmt::Write as _;

/// The picture's width in pixels, and where the bars begin and may end.
const WIDTH: f64 = 860.0;
const BARS: f64 = 210.0;
const BARS_END: f64 = 640.0;

/// Heights: of the title, of a group's name, of a bar with the room below it, of the axis.
const TITLE: f64 = 52.0;
const GROUP: f64 = 34.0;
const BAR: f64 = 20.0;
const ROW: f64 = 28.0;
const AXIS: f64 = 48.0;

/// Steps of the axis in seconds; the first that gives few enough lines is taken.
const STEPS: [u32; 9] = [1, 5, 10, 30, 60, 120, 300, 600, 1800];
const LINES: f64 = 8.0;

/// How a bar stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    /// What it is about.
    Strong,
    /// More of it.
    Light,
    /// What it is compared with.
    Grey,
}

impl Hue {
    fn class(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Light => "light",
            Self::Grey => "grey",
        }
    }
}

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What took the time.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// What stands behind the bar.
    pub note: String,
    /// Its colour.
    pub hue: Hue,
}

/// Bars that belong together.
#[derive(Debug, Clone)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// From above to below.
    pub bars: Vec<Bar>,
}

/// All of it, on one axis of time.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// From above to below.
    pub groups: Vec<Group>,
}

impl Chart {
    /// The picture: the same for the same figures.
    pub fn svg(&self) -> String {
        let rows: usize = self.groups.iter().map(|group| group.bars.len()).sum();
        let below = TITLE + self.groups.len() as f64 * GROUP + rows as f64 * ROW;
        let height = below + AXIS;
        let longest = self
            .groups
            .iter()
            .flat_map(|group| &group.bars)
            .map(|bar| bar.seconds)
            .fold(1.0, f64::max);
        let scale = (BARS_END - BARS) / longest;
        let title = escaped(&self.title);

        let mut svg = String::new();
        // Writing to a String does not fail.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title\">\n\
             <title id=\"title\">{title}</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
             <text class=\"title\" x=\"20\" y=\"32\">{title}</text>\n"
        );
        let step = f64::from(step(longest));
        let mut at = 0.0;
        while at <= longest {
            let x = BARS + at * scale;
            let _ = write!(
                svg,
                "<path class=\"line\" d=\"M{x:.1} {TITLE}V{below}\"/>\n\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>\n",
                below + 18.0,
                tick(at, step)
            );
            at += step;
        }
        let mut y = TITLE;
        for group in &self.groups {
            let _ = writeln!(
                svg,
                "<text class=\"group\" x=\"20\" y=\"{:.1}\">{}</text>",
                y + GROUP - 10.0,
                escaped(&group.name)
            );
            y += GROUP;
            for bar in &group.bars {
                let length = bar.seconds * scale;
                let text = y + BAR - 5.0;
                let _ = write!(
                    svg,
                    "<text class=\"name\" x=\"{:.1}\" y=\"{text:.1}\">{}</text>\n\
                     <rect class=\"{}\" x=\"{BARS}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
                     <text class=\"note\" x=\"{:.1}\" y=\"{text:.1}\">{}</text>\n",
                    BARS - 8.0,
                    escaped(&bar.name),
                    bar.hue.class(),
                    BARS + length + 8.0,
                    escaped(&bar.note)
                );
                y += ROW;
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Colours for a light page, and for a dark one.
const STYLE: &str = "\
text { font: 14px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.group { font-weight: 600 }
.name { text-anchor: end }
.tick { text-anchor: middle; font-size: 12px; fill: #59636e }
.paper { fill: #ffffff; stroke: #d1d9e0 }
.line { stroke: #d1d9e0 }
.strong { fill: #0969da }
.light { fill: #54aeff }
.grey { fill: #818b98 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.tick { fill: #9198a1 }
.paper { fill: #0d1117; stroke: #3d444d }
.line { stroke: #3d444d }
.strong { fill: #4493f8 }
.light { fill: #1f6feb }
.grey { fill: #9198a1 }
}
";

/// How many seconds lie between two lines.
fn step(longest: f64) -> u32 {
    let last = STEPS[STEPS.len() - 1];
    let few = |step: &u32| longest / f64::from(*step) <= LINES;
    STEPS.into_iter().find(few).unwrap_or(last)
}

/// What stands below a line.
fn tick(seconds: f64, step: f64) -> String {
    if step < 60.0 {
        format!("{seconds} s")
    } else {
        format!("{} min", seconds / 60.0)
    }
}

/// Text as XML has it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(seconds: &[f64]) -> String {
        let bar = |seconds: &f64| Bar {
            name: "a < b & c".into(),
            seconds: *seconds,
            note: format!("{seconds} s"),
            hue: Hue::Strong,
        };
        Chart {
            title: "x".into(),
            groups: vec![Group {
                name: "g".into(),
                bars: seconds.iter().map(bar).collect(),
            }],
        }
        .svg()
    }

    fn lengths(svg: &str) -> Vec<f64> {
        svg.lines()
            .filter(|line| line.starts_with("<rect class=\"strong\""))
            .filter_map(|line| {
                line.split("width=\"")
                    .nth(1)?
                    .split('"')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect()
    }

    #[test]
    fn a_bar_is_as_long_as_its_time() {
        assert_eq!(lengths(&chart(&[1000.0, 250.0])), [430.0, 107.5]);
    }

    #[test]
    fn what_xml_reserves_is_escaped() {
        assert!(chart(&[1.0]).contains(">a &lt; b &amp; c<"));
    }

    #[test]
    fn lines_are_few_and_said_in_minutes_where_they_are_that_far_apart() {
        assert_eq!((step(7.0), step(251.0), step(960.0)), (1, 60, 120));
        let svg = chart(&[960.0]);
        assert_eq!(svg.matches("class=\"line\"").count(), 9);
        assert!(svg.contains(">16 min<"));
        assert!(chart(&[40.0]).contains(">40 s<"));
    }
}
