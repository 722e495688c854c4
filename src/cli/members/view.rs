//! The answer of `GET /cluster`, as what nodes believe of the cluster's members. Only computes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::output::{BAD, Cell, Table, shown};
use crate::cli::status::age;

/// As much of the answer as this is about.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Cluster {
    node: u32,
    cluster: String,
    at: String,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Deserialize)]
struct Node {
    node: Option<u32>,
    address: Option<String>,
    age_ms: Option<u64>,
    facts: Option<Facts>,
}

#[derive(Clone, Debug, Deserialize)]
struct Facts {
    version: String,
    /// `None`: a node of an older version does not say.
    #[serde(default)]
    removed: Option<BTreeSet<u32>>,
    #[serde(default)]
    unknown_members: Option<Vec<Unknown>>,
    #[serde(default)]
    draining: Option<bool>,
    links: Vec<Link>,
}

#[derive(Clone, Debug, Deserialize)]
struct Unknown {
    node: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct Link {
    to: Option<u32>,
    address: String,
}

/// Somebody of whom something is known.
struct Row<'a> {
    node: Option<u32>,
    address: Option<&'a str>,
    age_ms: Option<u64>,
    facts: Option<&'a Facts>,
}

impl Row<'_> {
    /// Its list: itself and its links. `None`: it never said. Peers that never said who they are go by their address.
    fn list(&self) -> Option<Vec<String>> {
        let facts = self.facts?;
        let named: BTreeSet<u32> = self.node.into_iter().chain(facts.links.iter().filter_map(|link| link.to)).collect();
        let unnamed = facts.links.iter().filter(|link| link.to.is_none()).map(|link| shown(&link.address));
        Some(named.iter().map(u32::to_string).chain(unnamed).collect())
    }

    fn lists(&self, id: u32) -> bool {
        self.node == Some(id) || self.facts.is_some_and(|facts| facts.links.iter().any(|link| link.to == Some(id)))
    }

    /// Whether all of its list are known by their ids.
    fn is_named(&self) -> bool {
        self.facts.is_some_and(|facts| facts.links.iter().all(|link| link.to.is_some()))
    }

    fn removed(&self) -> Option<&BTreeSet<u32>> {
        self.facts?.removed.as_ref()
    }

    fn unknown(&self) -> Option<Vec<u32>> {
        Some(self.facts?.unknown_members.as_ref()?.iter().map(|unknown| unknown.node).collect())
    }
}

impl Cluster {
    /// A row each node of the list of the node that was asked, and then each that only others know.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row> = self
            .nodes
            .iter()
            .map(|Node { node, address, age_ms, facts }| Row {
                node: *node,
                address: address.as_deref(),
                age_ms: *age_ms,
                facts: facts.as_ref(),
            })
            .collect();
        let mut others: BTreeMap<u32, Option<&str>> = BTreeMap::new();
        for facts in self.nodes.iter().filter_map(|node| node.facts.as_ref()) {
            others.extend(facts.links.iter().filter_map(|link| Some((link.to?, Some(&*link.address)))));
            for unknown in facts.unknown_members.iter().flatten() {
                others.entry(unknown.node).or_default();
            }
        }
        let known: BTreeSet<u32> = self.nodes.iter().filter_map(|node| node.node).collect();
        let others = others.into_iter().filter(|(id, _)| !known.contains(id));
        rows.extend(others.map(|(id, address)| Row { node: Some(id), address, age_ms: None, facts: None }));
        rows
    }

    /// Where nodes disagree, a sentence each.
    pub(super) fn disagreements(&self) -> Vec<String> {
        let rows = self.rows();
        let ids: BTreeSet<u32> = rows.iter().filter_map(|row| row.node).collect();
        let removed: BTreeSet<u32> = rows.iter().filter_map(Row::removed).flatten().copied().collect();
        let mut found = Vec::new();
        for id in ids.union(&removed) {
            let by = |names: &dyn Fn(&Row) -> bool| {
                let told = rows.iter().filter(|row| row.facts.is_some() && names(row));
                told.filter_map(|row| row.node).collect::<Vec<u32>>()
            };
            let listing = by(&|row| row.lists(*id));
            let lacking = by(&|row| !row.lists(*id) && row.is_named());
            let removing = by(&|row| row.removed().is_some_and(|removed| removed.contains(id)));
            // Its own list has it always; where nobody else's does, it is there on its own.
            let hearing = by(&|row| row.unknown().is_some_and(|unknown| unknown.contains(id)));
            if !listing.is_empty() && !lacking.is_empty() {
                found.push(format!(
                    "{} not list {id}, {}",
                    nodes(&lacking, "does", "do"),
                    nodes(&listing, "does", "do")
                ));
            }
            if listing.is_empty() && !hearing.is_empty() {
                found.push(format!("{} {id}, and nobody lists it", nodes(&hearing, "hears", "hear")));
            }
            if !listing.is_empty() && !removing.is_empty() {
                found.push(format!("{} {id} as removed, and it is still listed", nodes(&removing, "names", "name")));
            }
        }
        found
    }

    /// As a table, and what they disagree about.
    pub(super) fn shown(&self, disagreements: &[String]) -> String {
        let mut table = Table::new(&["NODE", "LIST", "REMOVED", "UNKNOWN", "DRAINING", "VERSION", "FACTS", "ADDRESS"]);
        for row in self.rows() {
            let fact = |fact: Option<String>| Cell::from(fact.unwrap_or_else(|| "?".to_owned()));
            let draining = row.facts.and_then(|facts| facts.draining);
            table.row(vec![
                row.node.map_or("?".to_owned(), |node| node.to_string()).into(),
                fact(row.list().map(|list| list.join(","))),
                fact(row.removed().map(ids)),
                fact(row.unknown().as_ref().map(ids)),
                match draining {
                    Some(true) => Cell::styled("yes", BAD),
                    told => fact(told.map(|_| "no".to_owned())),
                },
                fact(row.facts.map(|facts| shown(&facts.version))),
                age(row.age_ms).into(),
                row.address.map_or("-".to_owned(), shown).into(),
            ]);
        }
        let head = format!("cluster '{}' as node {} knows it, {}", shown(&self.cluster), self.node, shown(&self.at));
        let verdict = match disagreements {
            [] => "nodes agree, as far as they have told".to_owned(),
            some => format!("nodes disagree:\n  {}", some.join("\n  ")),
        };
        format!("{head}\n\n{table}\n\n{verdict}")
    }

    /// The same for programs.
    pub(super) fn report(&self, disagreements: &[String]) -> Value {
        let nodes: Vec<Value> = self
            .rows()
            .iter()
            .map(|row| {
                json!({
                    "node": row.node,
                    "address": row.address,
                    "age_ms": row.age_ms,
                    "members": row.list(),
                    "removed": row.removed(),
                    "unknown_members": row.unknown(),
                    "draining": row.facts.and_then(|facts| facts.draining),
                    "version": row.facts.map(|facts| &facts.version),
                })
            })
            .collect();
        json!({"node": self.node, "cluster": self.cluster, "at": self.at, "nodes": nodes, "disagreements": disagreements})
    }
}

/// Ids with commas; `-`: none.
fn ids<'a>(ids: impl IntoIterator<Item = &'a u32>) -> String {
    let ids: Vec<String> = ids.into_iter().map(u32::to_string).collect();
    if ids.is_empty() { "-".to_owned() } else { ids.join(",") }
}

/// "node 1 does", "nodes 1 and 2 do".
fn nodes(ids: &[u32], one: &str, several: &str) -> String {
    match ids {
        [] => format!("nobody {one}"),
        [id] => format!("node {id} {one}"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(u32::to_string).collect();
            format!("nodes {} and {last} {several}", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn node(id: u32, peers: &[u32], removed: &[u32], unknown: &[u32]) -> Value {
        let links = peers.iter().map(|to| json!({"to": to, "address": format!("http://node{to}:7000")}));
        let heard = |id: &u32| json!({"node": id, "heard": "2026-11-24T14:10:00.000Z"});
        json!({
            "node": id, "address": (id != 0).then(|| format!("http://node{id}:7000")), "age_ms": 20, "facts": {
                "version": "0.1.0", "removed": removed, "draining": id == 1,
                "unknown_members": unknown.iter().map(heard).collect::<Vec<_>>(),
                "links": links.collect::<Vec<_>>(),
            },
        })
    }

    fn cluster(nodes: &[Value]) -> Cluster {
        let cluster = json!({"node": 0, "cluster": "causeway", "at": "2026-11-24T14:10:00.000Z", "nodes": nodes});
        serde_json::from_value(cluster).unwrap()
    }

    #[test]
    fn nodes_with_one_list_agree() {
        let cluster = cluster(&[node(0, &[1], &[2], &[]), node(1, &[0], &[2], &[])]);
        let disagreements = cluster.disagreements();
        assert!(disagreements.is_empty(), "{disagreements:?}");
        let text = anstream::adapter::strip_str(&cluster.shown(&disagreements)).to_string();
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[2], "NODE LIST REMOVED UNKNOWN DRAINING VERSION FACTS ADDRESS");
        assert_eq!(lines[3], "0 0,1 2 - no 0.1.0 now -");
        assert_eq!(lines[4], "1 0,1 2 - yes 0.1.0 now http://node1:7000");
        assert_eq!(lines.last().unwrap(), "nodes agree, as far as they have told");
    }

    #[test]
    fn whatever_nodes_disagree_about_is_told() {
        let cluster =
            cluster(&[node(0, &[1, 2], &[4], &[3, 5]), node(1, &[0, 2, 3], &[], &[]), node(2, &[0, 1, 4], &[], &[])]);
        assert_eq!(
            cluster.disagreements(),
            [
                "nodes 0 and 2 do not list 3, node 1 does",
                "nodes 0 and 1 do not list 4, node 2 does",
                "node 0 names 4 as removed, and it is still listed",
                "node 0 hears 5, and nobody lists it",
            ]
        );
        let report = cluster.report(&[]);
        assert_eq!(report["nodes"][3]["node"], 3, "known to others only: {report}");
        assert_eq!(report["nodes"][3]["members"], Value::Null);
        assert_eq!(report["nodes"][0]["members"], json!(["0", "1", "2"]));
    }

    #[test]
    fn who_does_not_say_is_not_taken_to_disagree() {
        let old = json!({
            "node": 1, "address": "http://node1:7000", "age_ms": 20,
            "facts": {"version": "0.0.9", "links": [{"to": 0, "address": "http://node0:7000"}]},
        });
        let silent = json!({"node": null, "address": "http://node2:7000", "age_ms": null, "facts": null});
        let mut own = node(0, &[1], &[], &[]);
        own["facts"]["links"].as_array_mut().unwrap().push(json!({"to": null, "address": "http://node2:7000"}));
        let cluster = cluster(&[own, old, silent]);
        assert!(cluster.disagreements().is_empty());
        assert!(cluster.shown(&[]).contains("0,1,http://node2:7000"));
    }
}
