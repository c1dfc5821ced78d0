//! The summary of a campaign as JSON: the same bytes for the same cells, however they were divided
//! and merged.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arguments::Campaign;
use super::cell::{Counts, Group, seed};
use super::estimate::Estimate;
use super::findings::file_name;
use super::total::Total;
use super::universe::Universe;

#[derive(Serialize)]
struct Summary<'a> {
    campaign: &'a Campaign,
    all: Counts,
    sims: Vec<Row<'a>>,
    lanes: BTreeMap<&'static str, Counts>,
    findings: Vec<Finding<'a>>,
    activation: BTreeMap<&'static str, BTreeMap<&'a str, u64>>,
    left: Vec<Left>,
    refused: Vec<Refused<'a>>,
    differing: Vec<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    sim: &'a str,
    profile: &'a str,
    counts: Counts,
}

#[derive(Serialize)]
struct Finding<'a> {
    sim: &'a str,
    class: &'static str,
    signature: String,
    cells: u64,
    first: First<'a>,
    profiles: Vec<&'a str>,
    case: String,
}

#[derive(Serialize)]
struct First<'a> {
    counter: u64,
    profile: &'a str,
    lane: &'static str,
    seed: String,
}

#[derive(Serialize)]
struct Left {
    species: &'static str,
    workloads: u64,
    seen: u64,
    seen_once: u64,
    workloads_with_one_seen_once: u64,
    chance_that_the_next_shows_a_new_one: String,
}

#[derive(Serialize)]
struct Refused<'a> {
    sim: &'a str,
    why: &'a str,
    cells: u64,
}

/// The summary, as text.
pub(crate) fn summary(total: &Total, universe: &Universe) -> String {
    let campaign = &total.header.campaign;
    let summary = Summary {
        campaign,
        all: total.counts(),
        sims: rows(total),
        lanes: total.lanes.iter().map(|(lane, counts)| (lane.name(), *counts)).collect(),
        findings: findings(total),
        activation: activation(total, universe),
        left: Estimate::all(total).iter().map(left).collect(),
        refused: total
            .refused
            .iter()
            .map(|((sim, why), cells)| Refused { sim, why, cells: *cells })
            .collect(),
        differing: total.differing.keys().map(ToString::to_string).collect(),
    };
    let mut text = serde_json::to_string_pretty(&summary).unwrap_or_default();
    text.push('\n');
    text
}

fn rows(total: &Total) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for ((sim, profile), counts) in &total.rows {
        rows.push(Row { sim, profile, counts: *counts });
    }
    rows
}

fn findings(total: &Total) -> Vec<Finding<'_>> {
    let name = &total.header.campaign.name;
    let mut findings = Vec::new();
    for ((sim, kind), found) in &total.findings {
        findings.push(Finding {
            sim,
            class: kind.class.name(),
            signature: kind.signature.to_string(),
            cells: found.cells,
            first: First {
                counter: found.first.counter,
                profile: &found.first.profile,
                lane: found.first.lane.name(),
                seed: seed(name, sim, found.first.counter).to_string(),
            },
            profiles: found.profiles.iter().map(String::as_str).collect(),
            case: format!("findings/{sim}/{}", file_name(kind)),
        });
    }
    findings
}

fn activation<'a>(
    total: &'a Total,
    universe: &'a Universe,
) -> BTreeMap<&'static str, BTreeMap<&'a str, u64>> {
    let mut all: BTreeMap<&'static str, BTreeMap<&str, u64>> = BTreeMap::new();
    for ((group, name), times) in universe.table(total) {
        all.entry(Group::name(*group)).or_default().insert(name, times);
    }
    all
}

fn left(estimate: &Estimate) -> Left {
    let number = |number: f64| format!("{number:.6}");
    Left {
        species: estimate.species.name(),
        workloads: estimate.workloads,
        seen: estimate.seen,
        seen_once: estimate.once,
        workloads_with_one_seen_once: estimate.fresh,
        chance_that_the_next_shows_a_new_one: match estimate.chance() {
            None => "unknown".to_owned(),
            Some((chance, true)) => format!("< {}", number(chance)),
            Some((chance, false)) => number(chance),
        },
    }
}
