//! The bugs that are planted, each in one or more places of the product, or of the simulator where that stands in for a
//! shell. A place is some text that occurs once in its file, with « and » around the expression that is replaced.

/// A mistake that somebody could make.
pub(crate) struct Bug {
    /// As the environment and docs/testing.md name it.
    pub name: &'static str,
    /// Where, and the wrong expression.
    pub places: &'static [Place],
}

/// One replaced expression.
pub(crate) struct Place {
    /// From the root of the workspace.
    pub file: &'static str,
    /// What is there, and around it.
    pub find: &'static str,
    /// What the bug has there.
    pub instead: &'static str,
}

const WRITE: &str = "src/replica/write.rs";
const STAGING: &str = "src/replica/staging.rs";
const RECEIVE: &str = "src/replica/receive.rs";
const LINK: &str = "src/replica/link.rs";
const LACKING: &str = "src/replica/lacking.rs";
const OP: &str = "src/replica/op.rs";
const REPEATS: &str = "src/replica/repeats.rs";
const SIBLINGS: &str = "src/replica/siblings.rs";
const TWINS: &str = "src/replica/twins.rs";
const REPLICA: &str = "src/replica/mod.rs";
const CATCHING_UP: &str = "src/replica/catching_up.rs";
const MERGING: &str = "src/replica/merging.rs";
const FILLING: &str = "src/replica/filling.rs";
const ANCESTRY: &str = "src/causality/ancestry.rs";
const LINEAGE: &str = "src/causality/lineage.rs";
const CONTEXT: &str = "src/causality/context.rs";
const REQUESTS: &str = "tests/simulation/src/world/requests.rs";
const FAULTS: &str = "tests/simulation/src/world/faults.rs";
const STATES: &str = "tests/simulation/src/world/states.rs";
const WORLD: &str = "tests/simulation/src/world/mod.rs";
const TRIMMING: &str = "tests/simulation/src/world/trimming.rs";

const fn one(name: &'static str, places: &'static [Place; 1]) -> Bug {
    Bug { name, places }
}

const fn at(file: &'static str, find: &'static str, instead: &'static str) -> Place {
    Place { file, find, instead }
}

/// All of them.
pub(crate) const BUGS: &[Bug] = &[
    // Repeats.
    one("repeat-taken-as-new", &[at(REPEATS, "«self.known.get(key).copied()»", "None")]),
    one("names-lost-at-a-start", &[at(REPLICA, "Repeats::new(«keyed»)", "KeyedOps::default()")]),
    one("repeat-answered-before-it-is-durable", &[at(REPEATS, "if «position <= self.durable» {", "true")]),
    one(
        "token-of-a-repeat-covers-the-state",
        &[at(
            REPEATS,
            "«once.context.clone().after_write(dot, &self.ancestry)»",
            "crate::causality::CausalContext::of_state(self.applied.clone())",
        )],
    ),
    // Two processes with one id.
    one("restart-taken-for-a-twin", &[at(TWINS, "«self.echoed > other.mark»", "self.echoed > 0")]),
    one("twins-not-told", &[at(TWINS, "«Some(now.mono.since(other)).filter(|age_ms| *age_ms < PROOF_MS)»", "None")]),
    // Dots and incarnations.
    one("incarnations-share-a-name", &[at(WRITE, "«self.random.incarnation()»", "crate::causality::Incarnation(1)")]),
    one(
        "counter-goes-on-after-a-restart",
        &[at(
            WRITE,
            "match («self.origin», own",
            "self.origin.or(self.staged.entries_of(self.options.node).next().map(|dot| dot.origin))",
        )],
    ),
    one("incarnation-without-parents", &[at(WRITE, "(origin.dot(1), «own»)", "Parents::new()")]),
    one(
        "incarnation-without-dependencies",
        &[at(
            WRITE,
            "self.changed = «self.staged.entries().map(|dot| (dot.origin, dot.counter)).collect()»;",
            "std::collections::BTreeMap::new()",
        )],
    ),
    one(
        "folding-by-ordinals",
        &[at(
            ANCESTRY,
            "filter(|dot| «self.implied_up_to(vector, dot.origin) >= dot.counter»)",
            "self.implied_up_to(vector, dot.origin) > 0",
        )],
    ),
    one(
        "folding-one-generation",
        &[at(LINEAGE, "if «is_reached(&next)» {", "reached.get(&next.chain) == Some(&next.place)")],
    ),
    one("commit-failure-ignored", &[at(STAGING, "self.read_only = «true»;", "false")]),
    // Causal delivery.
    one(
        "dependency-dropped",
        &[at(
            WRITE,
            "«self.staged.get(*origin) == *counter»",
            "origin.node.0 != 0 && self.staged.get(*origin) == *counter",
        )],
    ),
    one("dependencies-not-awaited", &[at(OP, "chain(«self.deps.iter()»", "self.deps[..0].iter()")]),
    one("parents-not-awaited", &[at(OP, "chain(«self.parents.iter()»", "self.parents[..0].iter()")]),
    one(
        "late-op-taken-again",
        &[at(RECEIVE, "if «self.ancestry.covers(&self.staged, dot)» ||", "self.staged.get(dot.origin) >= dot.counter")],
    ),
    // Staging and the disk.
    one("earlier-write-of-the-commit-unknown", &[at(STAGING, "match «self.overlay.0.get(key)»", "None")]),
    one("overlay-dropped-too-early", &[at(STAGING, "|_, (last, _)| «*last > through»", "false")]),
    one(
        "acknowledged-before-it-is-durable",
        &[at(
            WRITE,
            "«self.stage(op, held, Source::Client(request, replaces), now, effects)»;",
            "{
                self.stage(op, held, Source::Client(request, replaces), now, effects);
                let context = crate::causality::CausalContext::of_state(self.staged.clone());
                let outcome = Ok(super::effect::Written { dot, context, replayed: false });
                effects.push(Effect::Written { request, outcome });
            }",
        )],
    ),
    one("position-not-kept", &[at(REPLICA, "position: «checkpoint.position»,\n            durable", "0")]),
    one(
        "vector-ahead-of-the-data",
        &[at(
            FAULTS,
            "0 => «coverage.count(\"unsynced commit lost\")»,",
            "volume.apply(&crate::volume::Commit::new(Vec::new(), process.replica.checkpoint()), now)",
        )],
    ),
    one(
        "siblings-of-another-key",
        &[at(
            STAGING,
            "zip(«&mut states»)",
            "{
                let others: Vec<Siblings> = states.iter().rev().map(|(_, siblings)| siblings.clone()).collect();
                states.iter_mut().zip(others).for_each(|((_, siblings), other)| *siblings = other);
                &mut states
            }",
        )],
    ),
    // Siblings.
    one(
        "delete-replaces-nothing",
        &[at(WRITE, "Replaces::Held => «dots.collect()»", "dots.filter(|_| value.is_some()).collect()")],
    ),
    one(
        "one-sibling-replaced",
        &[at(SIBLINGS, "«!entry.replaces.contains(&sibling.dot)»", "entry.replaces.first() != Some(&sibling.dot)")],
    ),
    one(
        "replaces-what-it-did-not-name",
        &[at(
            SIBLINGS,
            "«!entry.replaces.contains(&sibling.dot)»",
            "sibling.dot.origin.node == dot.origin.node && !entry.replaces.contains(&sibling.dot)",
        )],
    ),
    one(
        "made-up-values-stay",
        &[at(
            STAGING,
            "«outline.iter().all(|sibling| replaced(sibling.dot))»",
            "outline.is_empty() || outline.iter().any(|sibling| replaced(sibling.dot))",
        )],
    ),
    one("latest-is-the-first", &[at(SIBLINGS, "«self.0.last()»", "self.0.first()")]),
    one(
        "newest-is-the-latest",
        &[at(SIBLINGS, "«self.0.iter().max_by_key(|sibling| (sibling.hlc, sibling.dot))»", "self.0.last()")],
    ),
    // What clients have seen.
    one(
        "token-covers-what-was-not-seen",
        &[at(
            STAGING,
            "«context.after_write(op.dot, &self.ancestry)»",
            "{ let _ = context; CausalContext::of_state(self.applied.clone()) }",
        )],
    ),
    one(
        "token-covers-the-dots-between",
        &[at(CONTEXT, "if «entry > 0 && entry + 1 == dot.counter»", "entry > 0 && entry < dot.counter")],
    ),
    one(
        "seen-by-counters-alone",
        &[at(
            CONTEXT,
            "«self.dots.contains(&dot)» ||",
            "self.dots.iter().any(|seen| seen.origin.node == dot.origin.node && seen.counter >= dot.counter)",
        )],
    ),
    one(
        "context-half-reached",
        &[at(
            ANCESTRY,
            "«other.entries().all(|dot| self.covers(vector, dot))»",
            "other.is_empty() || other.entries().any(|dot| self.covers(vector, dot))",
        )],
    ),
    one(
        "value-and-token-of-two-snapshots",
        &[at(
            REQUESTS,
            "of_state(«volume.vector()»)",
            "self.machines[machine].process.as_ref().map_or_else(|| volume.vector(), |process| process.replica.checkpoint().vector)",
        )],
    ),
    // Anti-entropy.
    Bug {
        name: "statements-merged",
        places: &[
            at(LINK, "take_if(|old| «old.statement.boot == statement.boot»)", "false"),
            at(
                LINK,
                "replace(«Known::new(statement, implied, answered)»)",
                "{
                    let mut statement = statement;
                    for dot in self.known.iter().flat_map(|old| old.statement.vector.entries()) {
                        statement.vector.raise(dot);
                    }
                    Known::new(statement, implied, answered)
                }",
            ),
        ],
    },
    one("parents-never-offered", &[at(LACKING, "«open.extend(ancestry.parents(last.origin))»;", "()")]),
    one("never-forwards", &[at(LINK, "range.origin.node != own && «stuck_ms >= forward_after_ms»", "false")]),
    Bug {
        name: "buffer-dropped-after-it-was-taken",
        places: &[
            at(STAGING, "«self.buffer.put_back(waiting, missing)»,", "{ let _ = (waiting, missing); }"),
            at(LINK, "= |sent: &Sent| «now.since(sent.since) >= RESEND_AFTER_MS»;", "false"),
        ],
    },
    // Trimming and state transfer.
    one("state-never-offered", &[at(LINK, "«lacking::is_trimmed(&wanted, &self.floor, &self.ancestry)»", "false")]),
    one(
        "state-offered-for-anything",
        &[at(LINK, "«lacking::is_trimmed(&wanted, &self.floor, &self.ancestry)»", "!wanted.is_empty()")],
    ),
    one(
        "floor-lost-at-a-start",
        &[at(
            REPLICA,
            "let Recovered { checkpoint, ancestry, keyed, floor } = «recovered»;",
            "Recovered { floor: VersionVector::new(), ..recovered }",
        )],
    ),
    one(
        "merge-keeps-what-was-replaced",
        &[at(MERGING, "has(theirs, sibling) || «!self.theirs.covers(sibling.dot)»", "true")],
    ),
    one(
        "merge-drops-what-the-peer-never-had",
        &[at(MERGING, "has(theirs, sibling) || «!self.theirs.covers(sibling.dot)»", "false")],
    ),
    one(
        "merge-brings-back-what-was-replaced",
        &[at(MERGING, "!has(own, sibling) && «!self.own.covers(sibling.dot)»", "true")],
    ),
    one("state-arrives-before-what-came-meanwhile", &[at(MERGING, "arrival: «position + LEAP»", "position")]),
    one(
        "floor-not-raised-by-a-state",
        &[at(
            FILLING,
            "«self.theirs.entries().filter(|dot| !self.ancestry.covers(&own.vector, *dot)).collect()»;",
            "VersionVector::new()",
        )],
    ),
    one(
        "catch-up-takes-again-what-the-state-has",
        &[at(FILLING, "if !«self.merging.covers(op.dot)» {\n            self.totals", "false")],
    ),
    one(
        "catch-up-moves-what-came-meanwhile",
        &[at(
            FILLING,
            "«siblings.arrived(op.dot, position)»;",
            "if !self.merging.covers(op.dot) { siblings.arrived(op.dot, position) }",
        )],
    ),
    one(
        "no-dependency-on-a-state",
        &[at(CATCHING_UP, "«self.changed.extend(changed.map(|dot| (dot.origin, dot.counter)))»;", "drop(changed)")],
    ),
    one(
        "waiting-ops-forgotten-at-an-adoption",
        &[at(CATCHING_UP, "«self.look_again(states, effects)»;", "{ let _ = states; }")],
    ),
    one(
        "adopted-in-the-middle-of-staged-ops",
        &[at(WORLD, "if «process.staged.is_empty()» {\n            self.begin_adoption", "process.adoption.is_some()")],
    ),
    one(
        "log-trimmed-under-a-state",
        &[at(
            TRIMMING,
            "let held = «sending.chain(filling).chain(adopting).min()»;",
            "sending.chain(filling).chain(adopting).min().filter(|_| false)",
        )],
    ),
    one("two-states-under-one-id", &[at(STATES, "if «filling.boot != boot» &&", "filling.sender != sender")]),
    one(
        "state-goes-on-behind-what-is-missing",
        &[at(STATES, "if «piece.after != filling.through» {", "piece.after < filling.through")],
    ),
];
