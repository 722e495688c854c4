//! What became of each node: when it was up, when its volume's lives began, and what its volume has kept.

use crate::history::{Event, Micros, NodeId, Volume, What};

/// What became of all nodes of a history.
#[derive(Default)]
pub(crate) struct Nodes {
    ids: Vec<NodeId>,
    stories: Vec<Story>,
}

/// What became of one node, in order of time.
#[derive(Default)]
struct Story {
    changes: Vec<(Micros, What)>,
    /// The starts with another volume than the node had last.
    births: Vec<(Micros, Volume)>,
}

impl Nodes {
    pub(crate) fn of(events: &[Event]) -> Self {
        let mut nodes = Self::default();
        for event in events {
            match event {
                Event::Request(request) => _ = nodes.number(request.node),
                Event::Final(held) => _ = nodes.number(held.node),
                Event::Bound(_) => {}
                Event::Node(event) => {
                    let node = nodes.number(event.node);
                    nodes.stories[node as usize].changes.push((event.at, event.what));
                }
            }
        }
        for story in &mut nodes.stories {
            story.changes.sort_by_key(|(at, _)| *at);
            let births = story.changes.iter().filter_map(|(at, what)| match what {
                What::Up(volume @ (Volume::Empty | Volume::Copy { .. })) => Some((*at, *volume)),
                What::Up(Volume::Kept) | What::Down => None,
            });
            story.births = births.collect();
        }
        nodes
    }

    /// The small number of a node; there are few nodes.
    pub(crate) fn number(&mut self, id: NodeId) -> u32 {
        if let Some(number) = self.ids.iter().position(|other| *other == id) {
            return number as u32;
        }
        self.ids.push(id);
        self.stories.push(Story::default());
        self.ids.len() as u32 - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn id(&self, node: u32) -> NodeId {
        self.ids[node as usize]
    }

    /// Whether some node's first volume was a copy: of whose, the history does not say.
    pub(crate) fn has_one_begun_on_a_copy(&self) -> bool {
        self.stories.iter().any(|story| matches!(story.births.first(), Some((_, Volume::Copy { .. }))))
    }

    /// In which life of the node's volume something happened; `None` if it may have been in either of two.
    pub(crate) fn life(&self, node: u32, start: Micros, end: Micros) -> Option<u32> {
        let births = &self.stories[node as usize].births;
        let life = births.partition_point(|(at, _)| *at <= start);
        (births.get(life).is_none_or(|(at, _)| *at > end)).then_some(life as u32)
    }

    /// The node's last life.
    pub(crate) fn last_life(&self, node: u32) -> u32 {
        self.stories[node as usize].births.len() as u32
    }

    /// Whether the node was up, without a restart, from start to end.
    pub(crate) fn is_up(&self, node: u32, start: Micros, end: Micros) -> bool {
        let changes = &self.stories[node as usize].changes;
        let before = changes.partition_point(|(at, _)| *at <= start);
        let Some((at, what)) = before.checked_sub(1).map(|last| changes[last]) else { return false };
        // A node that went down at the very moment may have gone before.
        let fell = changes[..before].iter().rev().any(|(other, what)| *other == at && *what == What::Down);
        matches!(what, What::Up(_)) && !(fell && at == start) && changes.get(before).is_none_or(|(at, _)| *at > end)
    }

    /// Whether the node's volume in the end still has what the node acknowledged from start to end.
    pub(crate) fn keeps(&self, node: u32, start: Micros, end: Micros) -> bool {
        let mut moment = Micros::MAX;
        for (at, volume) in self.stories[node as usize].births.iter().rev() {
            if *at > moment {
                continue;
            }
            match volume {
                _ if start >= *at => return true,
                Volume::Copy { taken } if *taken >= end => moment = *taken,
                Volume::Empty | Volume::Copy { .. } | Volume::Kept => return false,
            }
        }
        true
    }
}
