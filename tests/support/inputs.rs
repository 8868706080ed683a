//! Inputs that real clients, scripts and networks send, with the expected results: a bug report becomes
//! a row of [`ROWS`]. A row says what it is an example of; the rows after it are variations, and say
//! what they vary.
//!
//! Every row runs in memory and over real sockets (`tests/in_process/inputs.rs`), on the streams of
//! the simulation (`tests/simulation/inputs.rs`), and through the decoder, with each split of its
//! bytes.

/// One input.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What it varies of the example before it; empty for an example.
    pub(crate) varies: &'static str,
    pub(crate) is_at_prompt: bool,
    /// Whether the client is already the member `x` and has seen its welcome. Otherwise it has just
    /// connected, and has seen the greeting if there is one.
    pub(crate) has_joined: bool,
    /// What it sends, with a pause after each piece.
    pub(crate) sends: &'static [&'static [u8]],
    /// What a plain member sees.
    pub(crate) others: &'static str,
    /// What a person sees, if that differs.
    pub(crate) people: Option<&'static str>,
    /// What the client sees.
    pub(crate) sees: &'static [u8],
    /// Whether the server closes the connection.
    pub(crate) is_closed: bool,
}

/// What the plain member `x` sends.
const fn plain(
    (name, varies): (&'static str, &'static str),
    sends: &'static [&'static [u8]],
    others: &'static str,
    sees: &'static [u8],
) -> Row {
    Row {
        name,
        varies,
        is_at_prompt: false,
        has_joined: true,
        sends,
        others,
        people: None,
        sees,
        is_closed: false,
    }
}

/// What the member `x` sends from a prompt.
const fn prompt(
    name: (&'static str, &'static str),
    sends: &'static [&'static [u8]],
    others: &'static str,
    sees: &'static [u8],
) -> Row {
    Row {
        is_at_prompt: true,
        ..plain(name, sends, others, sees)
    }
}

impl Row {
    /// The client has just connected.
    const fn first(self) -> Self {
        Self {
            has_joined: false,
            ..self
        }
    }

    /// People see this.
    const fn for_people(self, people: &'static str) -> Self {
        Self {
            people: Some(people),
            ..self
        }
    }

    const fn closed(self) -> Self {
        Self {
            is_closed: true,
            ..self
        }
    }
}

const UTF_16: &[u8] = b"* this is UTF-16, and only UTF-8 is understood here, goodbye\r\n";

const GOODBYE: &[u8] = b"* goodbye\r\n";

const TAKEN_AND_MORE: &[u8] = b"* nick \"w\" is taken, choose another\r\n* you sent more without waiting for that answer, goodbye\r\n";

const TAKEN: &[u8] = b"* nick \"w\" is taken, choose another\r\n";

pub(crate) const ROWS: &[Row] = &[
    // IAC as a letter of an 8-bit character set.
    plain(
        ("IAC before a line end is a letter", ""),
        &[b"x\n", b"one \xff\n", b"two\n"],
        "x: one \u{fffd}\r\nx: two\r\n",
        b"",
    )
    .first(),
    plain(
        ("", "the line end"),
        &[b"one \xff\r\ntwo\r\n"],
        "x: one \u{fffd}\r\nx: two\r\n",
        b"",
    ),
    plain(
        ("", "a letter follows"),
        &[b"\xffone\n"],
        "x: \u{fffd}one\r\n",
        b"",
    ),
    plain(
        ("", "the last byte that is no command"),
        &[b"a\xff\xebb\n"],
        "x: a\u{fffd}\u{fffd}b\r\n",
        b"",
    ),
    plain(
        ("", "a pause before the line end"),
        &[b"one \xff", b"\ntwo\n"],
        "x: one \u{fffd}\r\nx: two\r\n",
        b"",
    ),
    plain(
        ("", "a CR alone"),
        &[b"one \xff\rtwo\r"],
        "x: one \u{fffd}\r\nx: two\r\n",
        b"",
    ),
    plain(
        ("EOF, SUSP, ABORT and EOR are commands", ""),
        &[b"a\xff\xecb\xff\xedc\xff\xeed\xff\xefe\n"],
        "x: abcde\r\n",
        b"",
    ),
    plain(
        ("", "in the middle of a character"),
        &[b"\xc3\xff\xed\xbc\n"],
        "x: \u{fc}\r\n",
        b"",
    ),
    plain(
        ("", "a pause inside"),
        &[b"a\xff", b"\xeeb\n"],
        "x: ab\r\n",
        b"",
    ),
    plain(
        ("", "before a line end"),
        &[b"a\xff\xef\n"],
        "x: a\r\n",
        b"",
    ),
    plain(
        ("an option may be 10 or 13", ""),
        &[b"\xff\xfd\x0ahi\n"],
        "x: hi\r\n",
        b"\xff\xfc\x0a\xff\xfd\x00",
    ),
    plain(
        ("", "the verb, and 13"),
        &[b"\xff\xfb\x0dhi\n"],
        "x: hi\r\n",
        b"\xff\xfe\x0d\xff\xfd\x00",
    ),
    plain(
        ("", "nothing to answer"),
        &[b"\xff\xfc\x0ahi\n"],
        "x: hi\r\n",
        b"\xff\xfd\x00",
    ),
    plain(
        ("", "DONT"),
        &[b"\xff\xfe\x0dhi\n"],
        "x: hi\r\n",
        b"\xff\xfd\x00",
    ),
    plain(
        ("no subnegotiation hides a line end", ""),
        &[b"one \xff\xfalost\n", b"two\n"],
        "x: one \r\nx: two\r\n",
        b"",
    ),
    plain(
        ("", "CR LF"),
        &[b"one \xff\xfa\r\ntwo\r\n"],
        "x: one \r\nx: two\r\n",
        b"",
    ),
    plain(
        ("", "behind an IAC"),
        &[b"one \xff\xfaa\xff\ntwo\n"],
        "x: one \u{fffd}\r\nx: two\r\n",
        b"",
    ),
    plain(
        ("", "it has its end"),
        &[b"one \xff\xfa\x18\0xterm\xff\xf0more\n"],
        "x: one more\r\n",
        b"",
    ),
    // NUL.
    plain(
        ("NUL is no operation", ""),
        &[b"\0", b"hello\n"],
        "x: hello\r\n",
        b"",
    ),
    plain(("", "inside"), &[b"hel\0\0lo\n"], "x: hello\r\n", b""),
    plain(
        ("", "before the line end, and alone"),
        &[b"hello\0\n\0\n"],
        "x: hello\r\n",
        b"",
    ),
    plain(
        ("", "behind a line end"),
        &[b"hello\r\n\0\0\r\nyou\r\n"],
        "x: hello\r\nx: you\r\n",
        b"",
    ),
    plain(
        ("", "before the nick"),
        &[b"\0x\0\r\nhello\r\n"],
        "x: hello\r\n",
        b"",
    )
    .first(),
    prompt(("", "at a prompt"), &[b"\0hel\0lo\n"], "x: hello\r\n", b""),
    // Byte order marks.
    plain(
        ("a byte order mark before the first line is dropped", ""),
        &[b"\xef\xbb\xbfx\nhi\n"],
        "x: hi\r\n",
        b"",
    )
    .first(),
    plain(
        ("", "a pause inside"),
        &[b"\xef\xbb", b"\xbfx\n", b"hi\n"],
        "x: hi\r\n",
        b"",
    )
    .first(),
    plain(
        ("", "on a line of its own"),
        &[b"\xef\xbb\xbf\nx\nhi\n"],
        "x: hi\r\n",
        b"",
    )
    .first(),
    plain(
        ("", "behind an empty line"),
        &[b"\n\xef\xbb\xbfx\nhi\n"],
        "x: hi\r\n",
        b"",
    )
    .first(),
    plain(
        ("", "in text"),
        &[b"\xef\xbb\xbfhi \xef\xbb\xbfthere\n"],
        "x: hi there\r\n",
        b"",
    ),
    plain(
        ("UTF-16 is refused with a reason", ""),
        &[b"\xff\xfeb\0o\0b\0\n\0"],
        "",
        UTF_16,
    )
    .first()
    .closed(),
    plain(
        ("", "the other byte order"),
        &[b"\xfe\xff\0b\0o\0b\0\n"],
        "",
        UTF_16,
    )
    .first()
    .closed(),
    plain(
        ("", "a byte at a time"),
        &[b"\xff", b"\xfe", b"b", b"\0"],
        "",
        b"\xff\xfd\x00* this is UTF-16, and only UTF-8 is understood here, goodbye\r\n",
    )
    .first()
    .closed(),
    plain(
        ("", "an empty line first"),
        &[b"\xff\xfe\r\0\n\0"],
        "",
        UTF_16,
    )
    .first()
    .closed(),
    prompt(("", "at a prompt"), &[b"\xff\xfeb\0o\0b\0\n\0"], "", UTF_16)
        .first()
        .closed(),
    plain(
        ("", "it is IAC DONT ECHO"),
        &[b"\xff\xfe\x01x\nhi\n"],
        "x: hi\r\n",
        b"\xff\xfd\x00",
    )
    .first(),
    plain(
        ("", "not at the beginning"),
        &[b"a\xff\xfeb\0\n"],
        "x: a\r\n",
        b"\xff\xfd\x00",
    ),
    // BINARY.
    plain(
        ("BINARY is agreed to", ""),
        &[b"\xff\xfd\x00"],
        "",
        b"\xff\xfb\x00\xff\xfd\x00",
    ),
    plain(
        ("", "the other direction"),
        &[b"\xff\xfb\x00"],
        "",
        b"\xff\xfd\x00",
    ),
    plain(
        ("", "asked twice"),
        &[b"\xff\xfb\x00\xff\xfd\x00", b"\xff\xfb\x00\xff\xfd\x00"],
        "",
        b"\xff\xfd\x00\xff\xfb\x00",
    ),
    plain(
        ("", "taken back"),
        &[b"\xff\xfb\x00\xff\xfd\x00", b"\xff\xfc\x00\xff\xfe\x00"],
        "",
        b"\xff\xfd\x00\xff\xfb\x00\xff\xfe\x00\xff\xfc\x00",
    ),
    plain(
        ("", "agreed to an offer"),
        &[b"\xff\xfd\x06", b"\xff\xfb\x00"],
        "",
        b"\xff\xfc\x06\xff\xfd\x00",
    ),
    plain(
        ("", "an offer refused"),
        &[b"\xff\xfd\x06", b"\xff\xfc\x00", b"\xff\xfb\x00"],
        "",
        b"\xff\xfc\x06\xff\xfd\x00\xff\xfd\x00",
    ),
    plain(
        ("", "no offer to a question"),
        &[b"\xff\xf6"],
        "",
        b"* yes\r\n",
    ),
    prompt(
        ("", "offered with the greeting already"),
        &[b"\xff\xfb\x00", b"\xff\xfd\x06"],
        "",
        b"\xff\xfd\x1f\xff\xfc\x06",
    ),
    prompt(
        (
            "a telnet client is asked for the width of its window, and long notices are broken",
            "",
        ),
        &[
            b"\xff\xfb\x00",
            b"\xff\xfb\x1f\xff\xfa\x1f\0\x28\0\x14\xff\xf0",
            b"/nick\n",
            b"/unignore somebody\n",
        ],
        "",
        b"\xff\xfd\x1f* write /nick NAME: changes your name\r\n\
          * you do not ignore \"somebody\"; /ignore\r\n\
          *   lists whom you do\r\n",
    ),
    prompt(
        ("", "one that tells it by itself"),
        &[
            b"\xff\xfb\x1f\xff\xfa\x1f\0\x28\0\x14\xff\xf0",
            b"/unignore somebody\n",
        ],
        "",
        b"\xff\xfd\x1f* you do not ignore \"somebody\"; /ignore\r\n\
          *   lists whom you do\r\n",
    ),
    prompt(
        ("", "one that does not tell it"),
        &[b"\xff\xfb\x00", b"\xff\xfc\x1f", b"/unignore somebody\n"],
        "",
        b"\xff\xfd\x1f* you do not ignore \"somebody\"; /ignore lists whom you do\r\n",
    ),
    prompt(
        ("", "no telnet client"),
        &[b"/unignore somebody\n"],
        "",
        b"* you do not ignore \"somebody\"; /ignore lists whom you do\r\n",
    ),
    // Keys.
    prompt(("an arrow key says nothing", ""), &[b"\x1b[A\r\n"], "", b""),
    prompt(
        ("", "in the middle of a line"),
        &[b"abc\x1b[DX\r\n"],
        "x: abcX\r\n",
        b"",
    ),
    prompt(
        ("", "application mode"),
        &[b"\x1bOCyes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "with parameters"),
        &[b"\x1b[1;5Cyes\x1b[3~\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "a function key of Linux's console"),
        &[b"\x1b[[Ayes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "pauses inside"),
        &[b"\x1b", b"[", b"Ayes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "Alt and a letter"),
        &[b"\x1bb\x1b\xc3\xa9yes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "not ended"),
        &[b"no\x1b[\r\nyes\r\n"],
        "x: no\r\nx: yes\r\n",
        b"",
    ),
    prompt(
        ("", "longer than any"),
        &[b"\x1b[111111111111111111111111111111222\r\n"],
        "x: 222\r\n",
        b"",
    ),
    plain(
        ("", "a script's is text"),
        &[b"\x1b[A\n"],
        "x: \u{fffd}[A\r\n",
        b"",
    ),
    prompt(
        ("a bracketed paste is what is in it", ""),
        &[b"\x1b[200~two words\x1b[201~\r\n"],
        "x: two words\r\n",
        b"",
    ),
    prompt(
        ("", "two lines"),
        &[b"\x1b[200~one\rtwo\x1b[201~\r"],
        "x: one\r\nx: two\r\n",
        b"",
    ),
    prompt(("", "nothing in it"), &[b"\x1b[200~\x1b[201~\r\n"], "", b""),
    prompt(
        ("", "typed around it"),
        &[b"a\x1b[200~b\x1b[201~c\r\n"],
        "x: abc\r\n",
        b"",
    ),
    prompt(
        ("a title is left out", ""),
        &[b"\x1b]0;title\x07yes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "the other end"),
        &[b"\x1b]0;title\x1b\\yes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "a pause before its end"),
        &[b"\x1b]0;title\x1b", b"\\yes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("", "another key instead of its end"),
        &[b"\x1b]0;title\x1b[Ayes\r\n"],
        "x: yes\r\n",
        b"",
    ),
    prompt(
        ("^C clears the line", ""),
        &[b"wrong\x03right\r\n"],
        "x: right\r\n",
        b"",
    ),
    prompt(("", "before the line end"), &[b"wrong\x03\r\n"], "", b""),
    prompt(
        ("", "a pause before it"),
        &[b"wrong", b"\x03right\r\n"],
        "x: right\r\n",
        b"",
    ),
    plain(
        ("", "a script's is text"),
        &[b"wrong\x03right\n"],
        "x: wrong\u{fffd}right\r\n",
        b"",
    ),
    prompt(
        ("other control keys are left out", ""),
        &[b"a\x12b\x0cc\x1ad\r\n"],
        "x: abcd\r\n",
        b"",
    ),
    prompt(("", "alone"), &[b"\x0c\r\n"], "", b""),
    prompt(
        ("", "the ends of a line"),
        &[b"\x01a\x05\x0bb\r\n"],
        "x: ab\r\n",
        b"",
    ),
    prompt(
        ("", "TAB is a character"),
        &[b"a\tb\r\n"],
        "x: a\tb\r\n",
        b"",
    ),
    prompt(
        ("^D at the beginning of a line ends", ""),
        &[b"\x04"],
        "",
        GOODBYE,
    )
    .closed(),
    prompt(
        ("", "behind a line"),
        &[b"so long\r\n\x04"],
        "x: so long\r\n",
        GOODBYE,
    )
    .closed(),
    prompt(("", "the line was erased"), &[b"oops\x15\x04"], "", GOODBYE).closed(),
    prompt(
        ("", "not at the beginning"),
        &[b"a\x04b\r\n"],
        "x: ab\r\n",
        b"",
    ),
    prompt(("", "telnet's EOF"), &[b"\xff\xec"], "", GOODBYE).closed(),
    prompt(("", "before the nick"), &[b"\x04"], "", GOODBYE)
        .first()
        .closed(),
    plain(
        ("", "a script's is text"),
        &[b"\x04\n"],
        "x: \u{fffd}\r\n",
        b"",
    ),
    plain(
        ("", "a script's EOF is nothing"),
        &[b"\xff\xechi\n"],
        "x: hi\r\n",
        b"",
    ),
    // Text.
    plain(
        ("marks of direction are left out", ""),
        &["a\u{200e}b\u{200f}c\u{61c}d\u{feff}e\n".as_bytes()],
        "x: abcde\r\n",
        b"",
    ),
    plain(("", "alone"), &["\u{200f}\n".as_bytes()], "", b""),
    plain(
        ("", "around Hebrew"),
        &["\u{200f}שלום\u{200f}\n".as_bytes()],
        "x: שלום\r\n",
        b"",
    ),
    plain(
        ("", "an override is no mark"),
        &["a\u{202e}b\n".as_bytes()],
        "x: a\u{fffd}b\r\n",
        b"",
    ),
    plain(
        ("the flag of a region is kept", ""),
        &["\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!\n".as_bytes()],
        "x: \u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!\r\n",
        b"",
    ),
    plain(
        ("", "not ended"),
        &["\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}!\n".as_bytes()],
        "x: \u{1f3f4}!\r\n",
        b"",
    ),
    plain(
        ("", "no flag before"),
        &["a\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!\n".as_bytes()],
        "x: a!\r\n",
        b"",
    ),
    plain(
        ("", "of Scotland"),
        &["\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}\n".as_bytes()],
        "x: \u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}\r\n",
        b"",
    ),
    plain(
        ("a base has eight marks at most", ""),
        &["e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}!\n".as_bytes()],
        "x: e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}!\r\n",
        b"",
    ),
    plain(
        ("", "eight"),
        &["e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}!\n".as_bytes()],
        "x: e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}!\r\n",
        b"",
    ),
    plain(
        ("", "another script's"),
        &["\u{e01}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\n".as_bytes()],
        "x: \u{e01}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\u{e49}\r\n",
        b"",
    ),
    plain(
        ("", "on two bases"),
        &["e\u{301}\u{301}\u{301}\u{301}\u{301}o\u{301}\u{301}\u{301}\u{301}\u{301}\n".as_bytes()],
        "x: e\u{301}\u{301}\u{301}\u{301}\u{301}o\u{301}\u{301}\u{301}\u{301}\u{301}\r\n",
        b"",
    ),
    plain(("a blank line says nothing", ""), &[b"   \n"], "", b""),
    plain(("", "a TAB"), &[b"\t\r\n"], "", b""),
    plain(
        ("", "wide and no-break blanks"),
        &["\u{3000}\u{a0}\u{2003}\n".as_bytes()],
        "",
        b"",
    ),
    plain(
        ("", "something behind the blanks"),
        &[b"   .\n"],
        "x:    .\r\n",
        b"",
    ),
    prompt(("", "at a prompt"), &[b"  \r\n"], "", b""),
    // AYT.
    prompt(
        ("a keep-alive shows on no screen", ""),
        &[b"\xff\xf6", b"\xff\xf6"],
        "",
        b"* yes\r\n\xff\xf1",
    ),
    prompt(
        ("", "something said between"),
        &[b"\xff\xf6", b"hi\r\n\xff\xf6"],
        "x: hi\r\n",
        b"* yes\r\n* yes\r\n",
    ),
    prompt(
        ("", "at once, and thrice"),
        &[b"\xff\xf6\xff\xf6\xff\xf6"],
        "",
        b"* yes\r\n\xff\xf1\xff\xf1",
    ),
    plain(
        ("", "a script's is answered each time"),
        &[b"\xff\xf6", b"\xff\xf6"],
        "",
        b"* yes\r\n* yes\r\n",
    ),
    // A script that does not wait.
    plain(
        ("what follows a refused nick is no nick", ""),
        &[b"w\nhello\nsecond line here\n"],
        "",
        TAKEN_AND_MORE,
    )
    .first()
    .closed(),
    plain(
        ("", "no line end behind it"),
        &[b"w\nhello"],
        "",
        TAKEN_AND_MORE,
    )
    .first()
    .closed(),
    plain(
        ("", "telnet and an empty line are no text"),
        &[b"w\n\xff\xf1\r\n\0", b"x\nhi\n"],
        "x: hi\r\n",
        TAKEN,
    )
    .first(),
    plain(
        ("", "a pause before it"),
        &[b"w\n", b"x\n", b"hi\n"],
        "x: hi\r\n",
        TAKEN,
    )
    .first(),
    plain(
        ("", "erased again"),
        &[b"w\nno\x08\x08", b"x\nhi\n"],
        "x: hi\r\n",
        TAKEN,
    )
    .first(),
    // Differences between what people and scripts see.
    prompt(
        ("a wide gap shrinks to eight blanks for people", ""),
        &[b"a            * you are kicked\r\n"],
        "x: a            * you are kicked\r\n",
        b"",
    )
    .for_people("x: a        * you are kicked\r\n"),
    prompt(
        ("", "other blanks"),
        &["a\t\u{3000}   \u{a0} \u{2003}\t  b\r\n".as_bytes()],
        "x: a\t\u{3000}   \u{a0} \u{2003}\t  b\r\n",
        b"",
    )
    .for_people("x: a\t\u{3000}   \u{a0} \u{2003}b\r\n"),
    prompt(
        ("", "eight"),
        &[b"a        b\r\n"],
        "x: a        b\r\n",
        b"",
    )
    .for_people("x: a        b\r\n"),
    prompt(
        ("", "something done"),
        &[b"/me a            b\r\n"],
        "x: /me a        b\r\n",
        b"",
    )
    .for_people("** x a        b\r\n"),
    plain(
        ("", "from a script"),
        &[b"a            b\n"],
        "x: a            b\r\n",
        b"",
    )
    .for_people("x: a        b\r\n"),
    plain(
        ("a nick from right to left stands alone for people", ""),
        &["שלום\nhi\n".as_bytes()],
        "שלום: hi\r\n",
        b"",
    )
    .for_people("* \u{2068}שלום\u{2069} joined\r\n\u{2068}שלום\u{2069}: hi\r\n")
    .first(),
    plain(
        ("", "Arabic"),
        &["سلام\nhi\n".as_bytes()],
        "سلام: hi\r\n",
        b"",
    )
    .for_people("* \u{2068}سلام\u{2069} joined\r\n\u{2068}سلام\u{2069}: hi\r\n")
    .first(),
    plain(
        ("", "in a part"),
        &["bobשלום\nhi\n".as_bytes()],
        "bobשלום: hi\r\n",
        b"",
    )
    .for_people("* \u{2068}bobשלום\u{2069} joined\r\n\u{2068}bobשלום\u{2069}: hi\r\n")
    .first(),
    plain(
        ("", "from left to right"),
        &["漢字\nhi\n".as_bytes()],
        "漢字: hi\r\n",
        b"",
    )
    .for_people("* 漢字 joined\r\n漢字: hi\r\n")
    .first(),
];
