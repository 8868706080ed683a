//! Names: who is alike whom for bans, mutes and ignores, and how a name from right to left is shown.

use crate::interactive::{people, room_with, unbroken};
use crate::support::temp_file::TempFile;

/// A Cyrillic `а` in front.
const OTHER_ALICE: &str = "\u{430}lice";

#[test]
fn a_ban_holds_for_all_names_that_are_alike() {
    let ops = TempFile::new("names", "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(ops.path().into()));
    let [op, alice] = people(&mut rig, ["op", OTHER_ALICE]);
    op.say("/op secret");
    op.say("/ban alice");
    rig.settle();
    assert!(alice.has_ended(), "who looks like alice is banned as well");
    for (nick, why) in [
        ("alice", "nick \"alice\" is banned from this room"),
        (
            "alic\u{435}",
            "nick \"alic\u{435}\" looks like \"alice\", which is banned from this room",
        ),
        (
            "ALICE\u{323}",
            "nick \"ALICE\u{323}\" looks like \"alice\", which is banned from this room",
        ),
    ] {
        let client = rig.connect();
        rig.settle();
        client.received();
        client.say(nick);
        rig.settle();
        assert_eq!(unbroken(&client), format!("* {why}, choose another\r\n"));
        client.hang_up();
        rig.settle();
    }
    op.received();
    op.say("/unban \u{430}li\u{441}e");
    rig.settle();
    assert_eq!(op.received(), "* \u{430}li\u{441}e is no longer banned\r\n");
    people(&mut rig, ["alice"]);
}

#[test]
fn a_mute_holds_for_all_names_that_are_alike() {
    let ops = TempFile::new("mutes", "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(ops.path().into()));
    let [op, zoe] = people(&mut rig, ["op", "Zoë"]);
    op.say("/op secret");
    op.say("/mute zoe");
    rig.settle();
    zoe.hang_up();
    rig.settle();
    for name in ["Zoe", "ZOË", "zo\u{435}"] {
        let [zoe] = people(&mut rig, [name]);
        zoe.say("hello");
        rig.settle();
        assert_eq!(
            zoe.received(),
            "* you are muted, that was not sent\r\n",
            "{name}"
        );
        zoe.hang_up();
        rig.settle();
    }
    let [other] = people(&mut rig, ["Zoey"]);
    op.received();
    other.say("hello");
    rig.settle();
    assert_eq!(op.received(), "Zoey: hello\r\n");
}

#[test]
fn whoever_looks_like_an_ignored_member_is_ignored() {
    let mut rig = room_with(|_| {});
    let [bob, vera] = people(&mut rig, ["bob", "ВЕРА"]);
    bob.say("/ignore вера");
    rig.settle();
    vera.hang_up();
    rig.settle();
    bob.received();
    for (name, is_ignored) in [
        ("вера", true),
        ("bepa", true),
        ("BEPA", true),
        ("вира", false),
    ] {
        let member = rig.join(name);
        rig.settle();
        bob.received();
        member.say("hello");
        rig.settle();
        let heard = if is_ignored {
            String::new()
        } else {
            format!("{name}: hello\r\n")
        };
        assert_eq!(bob.received(), heard, "{name}");
        member.hang_up();
        rig.settle();
    }
    bob.received();
    bob.say("/unignore BEPA");
    rig.settle();
    assert_eq!(bob.received(), "* you no longer ignore ВЕРА\r\n");
}

#[test]
fn a_private_word_for_somebody_who_has_left_goes_to_nobody_who_looks_like_it() {
    let mut rig = room_with(|_| {});
    let [bob, alice] = people(&mut rig, ["bob", "alice"]);
    alice.hang_up();
    rig.settle();
    let [other] = people(&mut rig, [OTHER_ALICE]);
    bob.received();
    bob.say("/msg alice psst");
    rig.settle();
    assert_eq!(
        bob.received(),
        format!("* alice has left; if you mean {OTHER_ALICE}, type more of it\r\n")
    );
    assert_eq!(other.received(), "");
}

#[test]
fn people_see_a_name_from_right_to_left_isolated_and_plain_members_see_it_bare() {
    let mut rig = room_with(|config| config.interactive.history_lines = Some(5));
    let [bob] = people(&mut rig, ["bob"]);
    let plain = rig.connect_plainly();
    plain.say("logger");
    rig.settle();
    bob.received();
    let [other] = people(&mut rig, ["שלום"]);
    assert_eq!(bob.received(), "* \u{2068}שלום\u{2069} joined\r\n");
    other.say("hi");
    other.say("/me waves");
    other.say("//x");
    rig.settle();
    assert_eq!(
        bob.received(),
        "\u{2068}שלום\u{2069}: hi\r\n** \u{2068}שלום\u{2069} waves\r\n\u{2068}שלום\u{2069}: /x\r\n"
    );
    assert_eq!(
        plain.received(),
        "שלום: hi\r\nשלום: /me waves\r\nשלום: /x\r\n"
    );
    bob.say("/who ש");
    bob.say("/last 1");
    rig.settle();
    let shown = bob.received();
    assert!(
        shown.starts_with("* 1 here: \u{2068}שלום\u{2069}\r\n"),
        "{shown:?}"
    );
    assert!(
        shown.ends_with(" s ago, \u{2068}שלום\u{2069}: /x\r\n"),
        "{shown:?}"
    );
    other.say("/nick مريم");
    rig.settle();
    assert_eq!(
        bob.received(),
        "* \u{2068}שלום\u{2069} changes nick to \u{2068}مريم\u{2069}\r\n"
    );
    bob.say("hello");
    rig.settle();
    assert!(other.received().ends_with("bob: hello\r\n"));
}
