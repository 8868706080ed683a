//! The model of passwords: how many tries an address has, and how somebody becomes an operator.

use super::{Client, Room, STEP_SECONDS};

/// How many wrong passwords an address may type, and how long it takes until it may type another one.
const MOST_TRIES: u64 = 10;
const SECONDS_A_TRY: u64 = 6;

/// IAC WILL ECHO or IAC WONT ECHO, as text.
const ECHO: &str = "\u{fffd}\u{fffd}\u{1}";

const DO_ECHO: &[u8] = b"\xff\xfd\x01";
const DONT_ECHO: &[u8] = b"\xff\xfe\x01";

/// Telnet's ECHO on the server's side, by which a telnet client shows nothing of what is typed. What is
/// not answered is not said again.
pub(super) struct Echo {
    state: EchoState,
    /// What a telnet client has to answer.
    answers: Vec<&'static [u8]>,
    is_telnet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EchoState {
    Off,
    Offered,
    On,
    Withdrawn,
    /// To be offered again when the client has answered that it was withdrawn.
    WithdrawnToBeOffered,
}

impl Echo {
    pub(super) fn new(is_telnet: bool) -> Self {
        Self {
            state: EchoState::Off,
            answers: Vec::new(),
            is_telnet,
        }
    }
}

impl Client {
    fn offers_echo(&mut self) {
        self.echo.state = EchoState::Offered;
        self.echo.answers.push(DO_ECHO);
        self.expected += ECHO;
    }
}

impl Room {
    /// Asks for what the terminal is not to show.
    pub(super) fn asks_unseen(&mut self, number: usize, question: &str) {
        let client = &mut self.clients[number];
        match client.echo.state {
            EchoState::Off => client.offers_echo(),
            EchoState::Withdrawn => client.echo.state = EchoState::WithdrawnToBeOffered,
            _ => {}
        }
        self.show(number, question);
    }

    pub(super) fn withdraws_echo(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if matches!(client.echo.state, EchoState::Offered | EchoState::On) {
            client.echo.state = EchoState::Withdrawn;
            client.echo.answers.push(DONT_ECHO);
            client.expected += ECHO;
        } else if client.echo.state == EchoState::WithdrawnToBeOffered {
            client.echo.state = EchoState::Withdrawn;
        }
    }

    /// A telnet client answers what it was offered and what was withdrawn; others never do.
    pub(super) fn answers_echo(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if !client.is_open || !client.echo.is_telnet {
            return;
        }
        for answer in std::mem::take(&mut client.echo.answers) {
            match (client.echo.state, answer == DO_ECHO) {
                (EchoState::Offered, true) => client.echo.state = EchoState::On,
                (EchoState::WithdrawnToBeOffered, false) => {
                    self.seen.insert("offered again");
                    client.offers_echo();
                }
                (EchoState::Withdrawn, false) => client.echo.state = EchoState::Off,
                _ => {}
            }
            self.scene.send(client.peer, answer);
        }
    }

    /// How many seconds an address has to wait for a try, if it has none.
    pub(super) fn wait_for_try(&self, number: usize) -> Option<u64> {
        let host = self.clients[number].host;
        let full = self.tries.get(&host).copied().unwrap_or_default();
        let now = self.step * STEP_SECONDS;
        let next = (full + SECONDS_A_TRY).saturating_sub(MOST_TRIES * SECONDS_A_TRY);
        Some(next.saturating_sub(now)).filter(|&wait| wait > 0)
    }

    pub(super) fn has_guessed(&mut self, number: usize) {
        let now = self.step * STEP_SECONDS;
        let full = self.tries.entry(self.clients[number].host).or_default();
        *full = (*full).max(now) + SECONDS_A_TRY;
    }

    /// Whether a password is not even looked at, which is told.
    pub(super) fn has_no_tries(&mut self, number: usize) -> bool {
        let Some(wait) = self.wait_for_try(number) else {
            return false;
        };
        self.seen.insert("too many tries");
        self.show(
            number,
            &format!("* too many tries from your address, try again in {wait} s"),
        );
        true
    }

    /// Whether nothing behind a line is read for a second.
    pub(super) fn pauses(&self, number: usize, line: &str) -> bool {
        let is_claim = self.claimed(line);
        let is_guess = line.ends_with("guess") || is_claim == Some(None);
        let is_right = ["sesame", "mustard", "/op mustard"].contains(&line) || is_claim.is_some();
        is_guess || is_right && self.wait_for_try(number).is_some()
    }

    /// Whether somebody is asked for the password of operators behind a line.
    pub(super) fn is_asked_after(&self, number: usize, line: &str, is_asked: bool) -> bool {
        let client = &self.clients[number];
        match line {
            "/op" => client.is_person && client.nick.is_some(),
            "mustard" | "" => false,
            _ => is_asked,
        }
    }

    pub(super) fn asks_for_password(&mut self, number: usize) {
        self.seen.insert("asked for the password of operators");
        self.asks_unseen(number, "* operator password? Enter alone cancels");
        self.clients[number].is_asked = true;
    }

    /// What is typed unseen, and so without its line end on the screen.
    pub(super) fn tries_for_operator(&mut self, number: usize, word: &str) {
        self.clients[number].expected += "\r\n";
        match word {
            "/quit" => self.quits(number, ""),
            "" => {
                self.seen.insert("cancelled");
                let line = "* cancelled: what you type goes to everybody again";
                self.show(number, line);
                self.withdraws_echo(number);
                self.clients[number].is_asked = false;
            }
            "mustard" if self.wait_for_try(number).is_none() => {
                self.seen.insert("operator by an unseen password");
                self.withdraws_echo(number);
                self.clients[number].is_asked = false;
                self.op(number, word);
            }
            _ => {
                self.seen.insert("wrong unseen password");
                self.op(number, word);
            }
        }
    }

    pub(super) fn op(&mut self, number: usize, word: &str) {
        if self.has_no_tries(number) {
            return;
        }
        if word != "mustard" {
            self.has_guessed(number);
            return self.show(number, "* wrong password, try again");
        }
        let was = std::mem::replace(&mut self.clients[number].is_operator, true);
        let line = "* you are an operator; /help lists what you can do";
        self.show(number, line);
        if !was {
            let nick = self.nick(number);
            self.tell_operators(number, &format!("* {nick} is an operator now"), Self::show);
        }
    }
}
