//! A terminal's screen: what somebody sees of the bytes that came over a serial line. It knows of ECMA-48 and the VT100 what
//! the image's shell and tools send (lines, tabs, moving the cursor, erasing), and leaves out colours.

/// The screen and where its cursor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    width: usize,
    rows: Vec<Vec<char>>,
    /// Row and column, from 0. The column is the width when the last cell of a row was written: the next character wraps.
    cursor: (usize, usize),
    state: State,
    /// The bytes of a character in UTF-8 that is not whole yet.
    partial: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Text,
    Escape,
    /// A control sequence and its parameters so far.
    Control(String),
}

/// Tabs are so far apart.
const TAB: usize = 8;

impl Terminal {
    /// An empty screen.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            rows: vec![Vec::new(); height],
            cursor: (0, 0),
            state: State::Text,
            partial: Vec::new(),
        }
    }

    /// Its lines, without the blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let line = |row: &Vec<char>| {
            let text: String = row.iter().collect();
            text.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }

    /// Row and column of the cursor, from 0.
    pub fn cursor(&self) -> (usize, usize) {
        (self.cursor.0, self.cursor.1.min(self.width - 1))
    }

    /// Shows what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.partial.push(*byte);
            match std::str::from_utf8(&self.partial) {
                Ok(text) => {
                    let char = text.chars().next();
                    self.partial.clear();
                    char.into_iter().for_each(|char| self.take(char));
                }
                // Not whole yet.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => {
                    self.partial.clear();
                    self.take(char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }

    fn take(&mut self, char: char) {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => self.character(char),
            State::Escape if char == '[' => self.state = State::Control(String::new()),
            State::Escape => {}
            State::Control(parameters) if ('\x40'..='\x7e').contains(&char) => {
                self.control(char, &parameters);
            }
            State::Control(mut parameters) => {
                parameters.push(char);
                self.state = State::Control(parameters);
            }
        }
    }

    fn character(&mut self, char: char) {
        let (row, column) = self.cursor;
        match char {
            '\x1b' => self.state = State::Escape,
            '\r' => self.cursor.1 = 0,
            '\n' => self.line_feed(),
            '\x08' => self.cursor.1 = column.min(self.width - 1).saturating_sub(1),
            '\t' => self.cursor.1 = ((column / TAB + 1) * TAB).min(self.width - 1),
            _ if char.is_control() => {}
            _ => {
                if column >= self.width {
                    self.cursor.1 = 0;
                    self.line_feed();
                    return self.character(char);
                }
                let cells = &mut self.rows[row];
                if cells.len() <= column {
                    cells.resize(column + 1, ' ');
                }
                cells[column] = char;
                self.cursor.1 += 1;
            }
        }
    }

    fn line_feed(&mut self) {
        if self.cursor.0 + 1 < self.rows.len() {
            self.cursor.0 += 1;
        } else {
            self.rows.remove(0);
            self.rows.push(Vec::new());
        }
    }

    /// A control sequence (ECMA-48, 8.3) with its final byte.
    fn control(&mut self, last: char, parameters: &str) {
        let number = |n: usize, default: usize| {
            let given = parameters
                .split(';')
                .nth(n)
                .and_then(|text| text.parse().ok());
            given.unwrap_or(default)
        };
        let (bottom, right) = (self.rows.len() - 1, self.width - 1);
        let (row, column) = self.cursor();
        match last {
            'A' => self.cursor.0 = row.saturating_sub(number(0, 1).max(1)),
            'B' => self.cursor.0 = (row + number(0, 1).max(1)).min(bottom),
            'C' => self.cursor.1 = (column + number(0, 1).max(1)).min(right),
            'D' => self.cursor.1 = column.saturating_sub(number(0, 1).max(1)),
            'G' => self.cursor.1 = (number(0, 1).max(1) - 1).min(right),
            'H' | 'f' => {
                let to = |n, most: usize| (number(n, 1).max(1) - 1).min(most);
                self.cursor = (to(0, bottom), to(1, right));
            }
            'J' => {
                let erased = match number(0, 0) {
                    0 => row + 1..bottom + 1,
                    1 => 0..row,
                    _ => 0..bottom + 1,
                };
                self.rows[erased].iter_mut().for_each(Vec::clear);
                self.erase_in_line(number(0, 0));
            }
            'K' => self.erase_in_line(number(0, 0)),
            // Colours, modes, questions for the cursor's place: nothing to be seen.
            _ => {}
        }
    }

    /// ECMA-48's EL: to the end, from the beginning, all of it.
    fn erase_in_line(&mut self, what: usize) {
        let (row, column) = self.cursor();
        let cells = &mut self.rows[row];
        match what {
            0 => cells.truncate(column),
            1 => {
                let end = cells.len().min(column + 1);
                cells[..end].fill(' ');
            }
            _ => cells.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let mut terminal = Terminal::new(10, 3);
        terminal.feed(text.as_bytes());
        terminal.lines()
    }

    #[test]
    fn lines_wrap_and_scroll() {
        assert_eq!(shown("0123456789ab\r\nc"), ["0123456789", "ab", "c"]);
        assert_eq!(shown("a\r\nb\r\nc\r\nd"), ["b", "c", "d"]);
        // A line that is just full is not followed by an empty one.
        assert_eq!(shown("0123456789\r\nb"), ["0123456789", "b", ""]);
    }

    #[test]
    fn a_progress_line_is_drawn_over() {
        assert_eq!(shown("50 % of it\r\x1b[Kdone"), ["done", "", ""]);
        assert_eq!(shown("12345\rab"), ["ab345", "", ""]);
    }

    #[test]
    fn colours_and_questions_are_not_seen() {
        assert_eq!(
            shown("\x1b[1;31mbad\x1b[0m\x1b[6n\x1b[?2004h"),
            ["bad", "", ""]
        );
    }

    #[test]
    fn the_cursor_goes_where_it_is_sent() {
        assert_eq!(shown("abc\x1b[2Dx\x1b[2;3Hy\x1b[A!"), ["axc!", "  y", ""]);
        assert_eq!(shown("abc\x08\x08x"), ["axc", "", ""]);
        assert_eq!(shown("a\r\nb\x1b[H\x1b[Jc"), ["c", "", ""]);
        // As far as the screen goes.
        assert_eq!(
            shown("\x1b[99;99Hx\x1b[99A\x1b[99Dy"),
            ["y", "", "         x"]
        );
    }

    #[test]
    fn characters_in_pieces_are_put_together() {
        let mut terminal = Terminal::new(10, 1);
        for byte in "a–b\u{1b}[K".bytes() {
            terminal.feed(&[byte]);
        }
        terminal.feed(b"\xff.");
        assert_eq!(terminal.lines(), ["a–b\u{fffd}."]);
    }
}
