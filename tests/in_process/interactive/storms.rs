//! Many who come and go at once, and big rooms: notices are gathered, and never quadratic.

use super::*;

/// How often it is told that somebody `joined`, or `left`, by name.
fn names_told(text: &str, what: &str) -> usize {
    let suffix = format!(" {what}");
    let lines = text.lines().filter(|line| line.ends_with(&suffix));
    lines.filter(|line| line.starts_with("* guest")).count()
}

fn guests(rig: &mut Rig, numbers: std::ops::Range<usize>) -> Vec<Wire> {
    numbers.map(|n| rig.join(&format!("guest{n}"))).collect()
}

#[test]
fn above_fifty_a_second_they_are_gathered_into_one_line() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    rig.advance(2 * SECOND);
    let guests = guests(&mut rig, 0..60);
    let told = alice.received();
    assert_eq!(names_told(&told, "joined"), 50);
    assert_eq!(told.lines().count(), 50);
    for guest in &guests[..7] {
        guest.hang_up();
    }
    rig.settle();
    assert_eq!(alice.received(), "", "not before the second is over");
    rig.advance(SECOND);
    assert_eq!(alice.received(), "* 10 people joined, 7 left\r\n");
    rig.advance(MINUTE);
    assert_eq!(alice.received(), "");
}

#[test]
fn who_quits_or_is_kicked_counts_like_who_leaves() {
    let ops = TempFile::new("storm", "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(ops.path().into()));
    let [alice, op] = people(&mut rig, ["alice", "op"]);
    op.say("/op secret");
    rig.settle();
    rig.advance(2 * SECOND);
    for n in 0..60 {
        let guest = rig.join(&format!("guest{n}"));
        match n % 2 {
            0 => guest.say("/quit I was here"),
            _ => op.say(&format!("/kick guest{n} you were here")),
        }
        rig.settle();
        assert!(guest.has_ended());
    }
    let told = alice.received();
    assert_eq!(told.lines().count(), 50, "{told}");
    assert_eq!(told.matches(" was kicked by op: ").count(), 12);
    rig.advance(SECOND);
    assert_eq!(alice.received(), "* 35 people joined, 35 left\r\n");
}

#[test]
fn a_room_of_more_than_so_many_is_told_of_nobody() {
    let mut rig = room_with(|config| config.interactive.quiet_above_members = 3);
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let carol = rig.join("carol");
    assert_eq!(alice.received(), "* carol joined\r\n");
    let dave = rig.join("dave");
    assert_eq!(alice.received(), "", "there are four now");
    bob.say("/nick rob");
    carol.say("/quit");
    rig.settle();
    assert_eq!(
        alice.received(),
        "* carol left\r\n",
        "now there are three again"
    );
    dave.hang_up();
    rig.settle();
    assert_eq!(alice.received(), "* dave left\r\n");
}

/// Ten thousand joins with a notice each would be fifty million lines.
#[test]
fn notices_are_not_quadratic() {
    let mut rig = room_with(|config| config.interactive.quiet_above_members = usize::MAX);
    let watcher = rig.join("watcher");
    rig.advance(2 * SECOND);
    let guests = guests(&mut rig, 0..2000);
    rig.advance(SECOND);
    for guest in &guests {
        guest.hang_up();
    }
    rig.settle();
    rig.advance(2 * SECOND);
    let told = watcher.received();
    let joined = names_told(&told, "joined");
    assert_eq!((joined, names_told(&told, "left")), (50, 0));
    assert!(
        told.ends_with("* 1950 people joined\r\n* 2000 people left\r\n"),
        "{told}"
    );
    let deliveries = rig.metrics().deliveries;
    assert!(
        deliveries < 52 * 2001,
        "{deliveries} for 4000 who came and went"
    );
}

#[test]
fn last_words_count_as_what_a_turn_may_say() {
    let mut rig = room_with(|config| {
        config.limits.lag = line_chat::Lag::Disconnect;
        config.limits.max_pending_bytes = 128 << 10;
    });
    let members: Vec<Wire> = (0..10).map(|n| rig.join(&format!("member{n}"))).collect();
    let leavers: Vec<Wire> = (0..40).map(|n| rig.join(&format!("guest{n}"))).collect();
    rig.advance(2 * SECOND);
    for leaver in &leavers {
        leaver.send([b"/quit ", &[0x80; 4000][..], b"\r\n"].concat());
    }
    rig.settle();
    assert_eq!(
        rig.metrics().members,
        members.len(),
        "who reads all is not too slow"
    );
    for member in &members {
        assert_eq!(member.received().matches(" left: ").count(), leavers.len());
    }
}

#[test]
fn who_holds_up_the_room_is_not_told_who_comes_meanwhile() {
    let mut rig = room_with(|config| {
        config.limits.lag = line_chat::Lag::Wait;
        config.limits.max_pending_bytes = 64 << 10;
    });
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    bob.stop_reading();
    for _ in 0..20 {
        alice.say(&"x".repeat(4000));
        rig.settle();
    }
    let queued = rig.metrics().pending_bytes;
    assert!(queued > 64 << 10);
    for n in 0..40 {
        rig.join(&format!("guest{n}"));
    }
    assert_eq!(rig.metrics().pending_bytes, queued);
    assert_eq!(alice.received().lines().count(), 40);
}

#[test]
fn one_address_that_comes_and_goes_is_one_line_in_ten_seconds() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let churner = "2001:db8::1".parse().expect("an address");
    let visit = |rig: &mut Rig, nick: &str, is_plain, quits| {
        let wire = match is_plain {
            true => rig.connect_plainly_from(churner),
            false => rig.connect_from(churner),
        };
        wire.say(nick);
        if quits {
            wire.say("/quit bye");
        } else {
            wire.hang_up();
        }
        rig.settle();
    };
    // Under one nick or many, with or without words, at both listeners.
    for n in 0..20 {
        let nick = if n % 2 == 0 {
            "guest".to_owned()
        } else {
            format!("guest{n}")
        };
        visit(&mut rig, &nick, n % 4 == 1, n % 4 == 2);
    }
    let told = alice.received();
    assert_eq!(told.lines().count(), 5, "{told}");
    // Others are named as ever.
    let bob = rig.connect_from("192.0.2.1".parse().expect("an address"));
    bob.say("bob");
    rig.settle();
    assert_eq!(alice.received(), "* bob joined\r\n");
    rig.advance(10 * SECOND);
    assert_eq!(alice.received(), "* 17 people joined, 18 left\r\n");
    visit(&mut rig, "guest", false, false);
    assert_eq!(alice.received(), "* guest joined\r\n* guest left\r\n");
}

/// Forty connections of one address that took another name once a second each were forty lines a second.
#[test]
fn many_of_one_address_that_change_their_names_are_one_line_in_ten_seconds() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let address = "2001:db8::1".parse().expect("an address");
    let guests: Vec<Wire> = (0..40)
        .map(|n| {
            let guest = rig.connect_from(address);
            guest.say(&format!("guest{n}"));
            rig.settle();
            guest
        })
        .collect();
    rig.advance(20 * SECOND);
    alice.received();
    for (n, guest) in guests.iter().enumerate() {
        guest.say(&format!("/nick eve{n}"));
    }
    rig.settle();
    let told = alice.received();
    assert_eq!(told.lines().count(), 5, "{told}");
    // Others are named as ever.
    let bob = rig.connect_from("192.0.2.1".parse().expect("an address"));
    bob.say("bob\r\n/nick rob");
    rig.settle();
    assert_eq!(
        alice.received(),
        "* bob joined\r\n* bob changes nick to rob\r\n"
    );
    rig.advance(10 * SECOND);
    assert_eq!(alice.received(), "* 35 people changed nick\r\n");
    // Nor does it help to come again for each rename.
    for n in 0..20 {
        let guest = rig.connect_from(address);
        guest.say(&format!("mallory{n}\r\n/nick trent{n}"));
        guest.hang_up();
        rig.settle();
    }
    let told = alice.received();
    assert!(told.lines().count() <= 5, "{told}");
}
