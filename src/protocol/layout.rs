//! How notices fit on a terminal: [`Columns`] is how long a line may be that the server words itself, and
//! [`each_line`] breaks a longer one at words. A line that goes on begins with `*   `, so that it is seen to
//! be the server's, and no member can forge it.
//!
//! What members say is not broken: a terminal does that, and a copied line stays one.

use unicode_width::UnicodeWidthStr;

/// How many columns a line of the server's own may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns(
    /// 0: lines are never broken.
    u8,
);

impl Columns {
    /// For clients that know nothing but whole lines.
    pub(crate) const UNBROKEN: Self = Self(0);

    /// A terminal of 80 columns, of which the last stays free: some wrap as soon as it is written.
    pub(crate) const TERMINAL: Self = Self(79);

    /// A narrower window would break nearly every word.
    const NARROWEST: u8 = 20;

    /// For a window of this width, as telnet's NAWS tells it; 0 means that the client does not know.
    pub(crate) fn of_window(columns: u16) -> Self {
        let most = u8::try_from(columns).unwrap_or(u8::MAX).saturating_sub(1);
        match columns {
            0 => Self::TERMINAL,
            _ => Self(most.clamp(Self::NARROWEST, Self::TERMINAL.0)),
        }
    }

    /// Whether notices that fit most terminals may be too long.
    pub(crate) fn is_narrow(self) -> bool {
        self.is_terminal() && self.0 < Self::TERMINAL.0
    }

    /// What is left of them behind so many bytes of ASCII.
    pub(crate) fn behind(self, bytes: usize) -> Self {
        let taken = u8::try_from(bytes).unwrap_or(u8::MAX);
        match self.is_terminal() {
            true => Self(self.0.saturating_sub(taken).max(1)),
            false => self,
        }
    }

    /// Whether lines are broken at all: the client is a person's terminal.
    pub(crate) fn is_terminal(self) -> bool {
        self != Self::UNBROKEN
    }

    /// Whether a line with its end is not broken. A character that takes two columns is longer than two
    /// bytes, so bytes tell.
    #[inline]
    pub(crate) fn fits(self, line: &[u8]) -> bool {
        let most = usize::from(self.0).saturating_add(END.len());
        self == Self::UNBROKEN || line.len() <= most
    }
}

const END: &[u8] = b"\r\n";

/// What a line begins with that goes on with a notice.
const GOES_ON: &[u8] = b"*   ";

/// Stands for a blank at which a long notice is not broken, because what is around it is to be typed or copied
/// together. No text of a member holds it, and no notice that fits every window.
pub(crate) const NO_BREAK: char = '\x1f';

/// Breaks a notice, which ends with CR LF, into lines of at most so many columns, each with that end. A word
/// that is longer stays whole.
pub(crate) fn each_line(notice: &[u8], columns: Columns, mut take: impl FnMut(&[u8])) {
    let text = notice
        .strip_suffix(END)
        .and_then(|it| str::from_utf8(it).ok());
    let (false, Some(text)) = (columns.fits(notice), text) else {
        return take(notice);
    };
    let most = usize::from(columns.0);
    let mut line = Vec::with_capacity(notice.len().min(MOST_TOGETHER));
    // Whether there is a word behind the star.
    let (mut width, mut has_word) = (0_usize, false);
    for word in text.as_bytes().split(|&byte| byte == b' ') {
        let wide = width_of(word);
        let is_too_long = has_word && width.saturating_add(wide) >= most;
        if is_too_long {
            line.extend_from_slice(END);
            take(&line);
            line.clear();
            line.extend_from_slice(GOES_ON);
            width = GOES_ON.len();
        } else if !line.is_empty() {
            line.push(b' ');
            width = width.saturating_add(1);
            has_word = true;
        }
        line.extend(word.iter().map(|&byte| match char::from(byte) {
            NO_BREAK => b' ',
            _ => byte,
        }));
        width = width.saturating_add(wide);
    }
    line.extend_from_slice(END);
    take(&line);
}

/// As much memory as a broken line needs.
const MOST_TOGETHER: usize = 128;

/// How many columns a word takes. Of ASCII, which nearly all words are, that is its length.
#[inline]
fn width_of(word: &[u8]) -> usize {
    match word.is_ascii() {
        true => word.len(),
        false => str::from_utf8(word).map_or(word.len(), UnicodeWidthStr::width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(notice: &str, columns: Columns) -> Vec<String> {
        let mut lines = Vec::new();
        each_line(format!("{notice}\r\n").as_bytes(), columns, |line| {
            let line = String::from_utf8(line.to_vec()).expect("words stay whole");
            lines.push(line.strip_suffix("\r\n").expect("it has an end").to_owned());
        });
        lines
    }

    #[test]
    fn a_blank_that_is_to_stay_is_no_place_to_break() {
        let words = format!("* type alice{NO_BREAK}0123456789abcdef as your nick");
        let broken = ["* type alice 0123456789abcdef", "*   as your nick"];
        assert_eq!(lines(&words, Columns::of_window(31)), broken);
        let broken = ["* type", "*   alice 0123456789abcdef", "*   as your nick"];
        for window in [20, 29] {
            assert_eq!(lines(&words, Columns::of_window(window)), broken);
        }
    }

    #[test]
    fn a_line_is_as_long_as_the_window_but_for_one_column() {
        for (window, most) in [
            (0, 79),
            (1, 20),
            (20, 20),
            (22, 21),
            (40, 39),
            (79, 78),
            (80, 79),
            (81, 79),
            (256, 79),
            (u16::MAX, 79),
        ] {
            assert_eq!(Columns::of_window(window), Columns(most), "{window}");
        }
    }

    #[test]
    fn a_long_notice_is_broken_at_words_and_is_the_servers_all_the_way() {
        let notice = "* welcome, bob. /help lists the commands. 2 others here: alice, carol";
        let narrow = [
            "* welcome, bob. /help lists the",
            "*   commands. 2 others here: alice,",
            "*   carol",
        ];
        assert_eq!(lines(notice, Columns(39)), narrow);
        assert_eq!(lines(notice, Columns::TERMINAL), [notice]);
        let long = "x".repeat(200);
        let notice = format!("* nobody here is called {long} {long}");
        assert_eq!(lines(&notice, Columns::UNBROKEN), [&*notice]);
        let broken = [
            "* nobody here is called",
            &format!("*   {long}"),
            &format!("*   {long}"),
        ];
        assert_eq!(lines(&notice, Columns(39)), broken);
        assert_eq!(
            lines(&format!("* {long}"), Columns(39)),
            [format!("* {long}")]
        );
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        let notice = format!("* {0} {0} {0}", "\u{6f22}".repeat(8));
        let broken = [
            format!("* {0} {0}", "\u{6f22}".repeat(8)),
            format!("*   {}", "\u{6f22}".repeat(8)),
        ];
        assert_eq!(lines(&notice, Columns(39)), broken);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Nothing is lost, and only a word alone may be too wide.
        #[test]
        fn the_words_stay_in_their_order_on_lines_that_are_not_too_wide(
            words in prop::collection::vec("[a-z\u{6f22}\u{e9}]{1,12}", 1..40),
            window in 20..90_u16,
        ) {
            let columns = Columns::of_window(window);
            let notice = format!("* {}", words.join(" "));
            let lines = lines(&notice, columns);
            let said: Vec<&str> = lines.iter().flat_map(|line| line.split(' ')).collect();
            let said = said.into_iter().filter(|word| !["", "*"].contains(word));
            prop_assert!(said.eq(words.iter()));
            for line in &lines {
                let is_alone = line.trim_start_matches(['*', ' ']).split(' ').count() == 1;
                prop_assert!(line.width() <= usize::from(columns.0) || is_alone, "{}", line);
            }
        }
    }
}
