//! A class: what a pupil sees of a moderated room, on a usual screen and on a small one, with every client that
//! shows what is said and nothing else.

use super::*;
use crate::support::terminal::Size;

const USUAL: Size = size(24, 80);
const SMALL: Size = size(20, 40);

/// A pupil asks for a voice, gets it and speaks. Returns what was on its screen from its nick on.
#[track_caller]
fn lesson(kind: Kind, size: Size) -> Option<String> {
    let file = TempFile::new("teacher", "secret\n");
    let server = Server::start(&["--interactive", "--ops-password-file", file.path()]);
    let mut teacher = server.connect();
    teacher.say("teacher");
    teacher.say("/op secret");
    teacher.say("/moderate on");
    await_line(&mut teacher, "* only operators and those they /voice can");
    let mut pupil = Terminal::run_at(size, &kind.find()?, &kind.args(&server));
    pupil.await_text(ASKED);
    // Its answer comes behind the question for the width of the window.
    pupil.type_line("?");
    pupil.await_text("or quit\n");
    pupil.type_line("zoe");
    pupil.await_text("an operator\n");
    pupil.type_line("may I speak?");
    pupil.await_text("sent; you can /msg an operator\n");
    pupil.type_line("/msg teacher may I speak?");
    await_line(&mut teacher, "* zoe tells you: may I speak?");
    teacher.say("/voice zoe");
    pupil.await_text("moderated\n");
    pupil.type_line("thank you");
    await_line(&mut teacher, "zoe: thank you");
    teacher.say("/announce the lesson is over");
    pupil.await_text("* teacher announces: the lesson is over\n");
    teacher.say("/moderate off");
    pupil.await_text("talk again\n");
    let screen = pupil.screen();
    pupil.type_line("/quit");
    await_line(&mut teacher, "* zoe left");
    let begin = screen.find("zoe\n").or(screen.find("* welcome"));
    Some(screen[begin.unwrap_or_default()..].to_owned())
}

/// The screen of a client that shows what is typed, or of one that does not.
fn without_typed(lines: &str) -> String {
    let shown = lines.split_inclusive('\n');
    shown.filter(|line| line.starts_with('*')).collect()
}

/// What a client shows that tells its width, and on 80 columns every other.
const AT_80_COLUMNS: &str = "\
zoe
* welcome, zoe. /help lists the commands. 1 other here: teacher
* the room is moderated: you can listen, and /msg an operator
may I speak?
* the room is moderated, that was not sent; you can /msg an operator
/msg teacher may I speak?
* you tell teacher: may I speak?
* you can talk while the room is moderated
thank you
* teacher announces: the lesson is over
* teacher lets everybody talk again
";

const AT_40_COLUMNS: &str = "\
zoe
* welcome, zoe. /help lists the
*   commands. 1 other here: teacher
* the room is moderated: you can
*   listen, and /msg an operator
may I speak?
* the room is moderated, that was not
*   sent; you can /msg an operator
/msg teacher may I speak?
* you tell teacher: may I speak?
* you can talk while the room is
*   moderated
thank you
* teacher announces: the lesson is over
* teacher lets everybody talk again
";

#[test]
fn a_pupil_is_told_why_it_is_not_heard_and_how_to_ask() {
    let _alone = alone();
    for kind in Kind::ALL {
        for (size, known_width) in [(USUAL, AT_80_COLUMNS), (SMALL, AT_40_COLUMNS)] {
            let expected = match kind.knows_telnet() {
                true => known_width,
                false => AT_80_COLUMNS,
            };
            let expected = match kind.shows_what_is_typed() {
                true => expected.to_owned(),
                false => without_typed(expected),
            };
            if let Some(seen) = lesson(kind, size) {
                assert!(
                    seen == expected,
                    "{kind:?} shows\n{seen}\nand should show\n{expected}"
                );
            }
        }
    }
}
