//! What a room is told: [`Journal`] keeps it, and what has to hold for one room alone it checks at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::relay_batch::{Kind, NodeId};
use crate::relay::{Event, Room};

/// One line that the room was told, from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) node: NodeId,
    pub(super) number: u64,
    pub(super) text: String,
    pub(super) is_late: bool,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The lines of the log, in the order in which they were told.
    pub(super) told: Vec<Told>,
    /// Whatever was seen by the people here, from the log or not.
    seen: BTreeSet<String>,
    /// The last line of each speaker under each id of its server, and under any; without an id it was shown here only.
    speakers: BTreeMap<(Option<NodeId>, String), u64>,
    last: BTreeMap<String, u64>,
    /// Lines of a speaker that came behind later ones which it had said under another id of its server.
    pub(super) misplaced: Vec<String>,
    /// What was shown here only, and not known to have been heard by others, since the split.
    pub(super) here_only: Vec<String>,
    /// The splits that are over: what was shown in them, and how much of it was said to be unheard.
    pub(super) splits: Vec<(Vec<String>, u64)>,
    pub(super) is_split: bool,
    pub(super) has_started: bool,
    pub(super) lost: u64,
    /// Who is there, by what was told.
    pub(super) known: BTreeSet<NodeId>,
    pub(super) events: Vec<String>,
    keeps_events: bool,
    /// The log was made anew unseen, so that its sequences may have been taken for those of the old one, or it has lost
    /// its end more than once, and with it which ids are no more: lines may be told late, or those of such an id.
    pub(super) is_lax: bool,
}

impl Journal {
    pub(super) fn new(keeps_events: bool, is_lax: bool) -> Self {
        Self {
            keeps_events,
            is_lax,
            ..Self::default()
        }
    }

    /// People here see a line of theirs that they say in a split, or that had waited.
    pub(super) fn show(&mut self, text: &str) {
        assert!(self.is_split, "{text} is heard here only, without a split");
        self.here_only.push(text.to_owned());
        self.see(None, text);
    }

    /// Nobody sees a line twice, and those of one speaker in order.
    fn see(&mut self, node: Option<NodeId>, text: &str) {
        let is_new = self.seen.insert(text.to_owned());
        assert!(is_new, "{text} is seen twice: {}", self.last_events());
        let (speaker, number) = text.rsplit_once(' ').expect("a speaker and a number");
        let number: u64 = number.parse().expect("a number");
        let last = self.speakers.insert((node, speaker.to_owned()), number);
        assert!(
            last.is_none_or(|last| last < number) || self.is_lax,
            "{text} after {last:?}: {}",
            self.last_events()
        );
        let last = self.last.insert(speaker.to_owned(), number);
        if last.is_some_and(|last| last > number) && !self.is_lax {
            self.misplaced.push(text.to_owned());
        }
    }

    /// The end of what happened.
    pub(super) fn last_events(&self) -> String {
        let from = self.events.len().saturating_sub(40);
        self.events
            .iter()
            .skip(from)
            .map(|event| format!("\n{event:.200}"))
            .collect()
    }

    pub(super) fn has_seen(&self, text: &str) -> bool {
        self.seen.contains(text)
    }
}

impl Room for Journal {
    fn on_event(&mut self, event: Event<'_>) {
        if self.keeps_events {
            self.events.push(format!("{event:?}"));
        }
        match event {
            Event::Line {
                node,
                number,
                line,
                is_late,
                ..
            } => {
                self.known.insert(node);
                if line.kind != Kind::Gone {
                    self.see(Some(node), line.text);
                }
                self.told.push(Told {
                    node,
                    number,
                    text: line.text.to_owned(),
                    is_late,
                });
            }
            Event::NewNode { node, was, .. } => {
                self.known.insert(node);
                if let Some(was) = was {
                    self.known.remove(&was);
                }
            }
            Event::Gone { node } => {
                self.known.remove(&node);
            }
            Event::Lost { lines } => self.lost += lines,
            Event::Split => {
                assert!(!self.is_split, "it is split already");
                self.is_split = true;
            }
            Event::HereOnly { line } => self.show(line.text),
            Event::Started => {
                assert!(!self.has_started, "it has started already");
                self.has_started = true;
            }
            Event::Back { unheard } => {
                assert!(self.is_split, "it was not split");
                self.is_split = false;
                let shown = std::mem::take(&mut self.here_only);
                self.splits.push((shown, unheard));
            }
        }
    }
}
