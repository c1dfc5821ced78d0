//! The report of a campaign as one page of HTML: no scripts, no network, light and dark.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::cell::{Counts, Group};
use super::estimate::Estimate;
use super::findings;
use super::total::{Found, Total};
use super::universe::Universe;
use crate::explore::job::Kind;
use crate::report::page::grouped;

/// The looks of the page.
const STYLE: &str = include_str!("page.css");

/// The size of the curve, in the units of its drawing.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;
/// The most points of the curve.
const POINTS: usize = 360;

/// The page.
pub(crate) fn page(total: &Total, universe: &Universe) -> String {
    let campaign = &total.header.campaign;
    let name = escaped(&campaign.name);
    let mut text = String::new();
    push(&mut text, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    push(&mut text, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    push(&mut text, "<meta name=\"color-scheme\" content=\"light dark\">\n");
    push(&mut text, &format!("<title>crashpoint: {name}</title>\n<style>\n{STYLE}</style>\n"));
    push(&mut text, "<main>\n");
    verdict(&mut text, total, universe);
    heat_map(&mut text, total);
    all_findings(&mut text, total);
    left(&mut text, total);
    curve(&mut text, total);
    activation(&mut text, total, universe);
    let shards: Vec<String> = total.header.shards.iter().map(ToString::to_string).collect();
    let build = escaped(&campaign.build);
    let shards =
        if shards == ["0/1"] { String::new() } else { format!(", shards {}", shards.join(" ")) };
    push(&mut text, &format!("<footer>crashpoint, build {build}{shards}</footer>\n</main>\n"));
    text.push_str("</html>\n");
    text
}

fn push(text: &mut String, more: &str) {
    text.push_str(more);
}

/// Text that is none of the page's own markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A page cannot show these, and a terminal that prints the page should not obey them.
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn verdict(text: &mut String, total: &Total, universe: &Universe) {
    let counts = total.counts();
    let (findings, missing) = (total.findings.len(), universe.missing(total).len());
    let (class, word) = if !total.differing.is_empty() {
        ("bad", "Not deterministic".to_owned())
    } else if findings > 0 {
        ("bad", format!("{findings} {}", plural(findings, "finding", "findings")))
    } else if !total.refused.is_empty() {
        ("odd", "Not simulated".to_owned())
    } else if counts.cells == 0 {
        ("odd", "Nothing was tested".to_owned())
    } else {
        ("good", "No violation".to_owned())
    };
    let name = escaped(&total.header.campaign.name);
    push(text, &format!("<header class=\"{class}\">\n<p class=\"name\">{name}</p>\n"));
    push(text, &format!("<h1>{word}</h1>\n<dl>\n"));
    let facts = [
        ("cells", grouped(counts.cells)),
        ("crash points", grouped(counts.points)),
        ("crash states", grouped(counts.states)),
        ("recoveries", grouped(counts.recoveries)),
        ("violations", grouped(counts.violations)),
        ("known, shadowed", grouped(counts.shadowed)),
        ("unchecked", grouped(counts.unchecked)),
        ("never activated", grouped(missing as u64)),
    ];
    for (name, value) in facts {
        push(text, &format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    }
    push(text, "</dl>\n");
    for ((sim, why), cells) in &total.refused {
        let (sim, why) = (escaped(sim), escaped(why));
        push(text, &format!("<p class=\"note\">{sim}, {} cells: {why}</p>\n", grouped(*cells)));
    }
    for (cell, how) in &total.differing {
        let (cell, how) = (escaped(&cell.to_string()), escaped(how));
        push(
            text,
            &format!(
                "<details><summary>{cell}: not the same twice</summary><pre>{how}</pre></details>\n"
            ),
        );
    }
    push(text, "</header>\n");
}

fn plural<'a>(number: usize, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}

/// Sims by profiles: how many states were tested, and where a promise was broken.
fn heat_map(text: &mut String, total: &Total) {
    let mut profiles = BTreeSet::new();
    let mut sims: BTreeMap<&str, BTreeMap<&str, Counts>> = BTreeMap::new();
    for ((sim, profile), counts) in &total.rows {
        profiles.insert(profile.as_str());
        sims.entry(sim).or_default().insert(profile, *counts);
    }
    if sims.is_empty() {
        return;
    }
    push(
        text,
        "<section>\n<h2>Sims on profiles</h2>\n<p class=\"hint\">Crash states tested. The \
         darker, the more; red has violations, yellow states that were not compared or only show \
         a known finding.</p>\n<div class=\"wide\"><table class=\"heat\">\n<tr><th></th>",
    );
    for profile in &profiles {
        push(text, &format!("<th scope=\"col\">{}</th>", escaped(profile)));
    }
    push(text, "</tr>\n");
    let most = total.rows.values().map(|counts| counts.states).max().unwrap_or(0);
    for (sim, of_profile) in &sims {
        push(text, &format!("<tr><th scope=\"row\">{}</th>", escaped(sim)));
        for profile in &profiles {
            match of_profile.get(profile) {
                None => push(text, "<td class=\"none\"></td>"),
                Some(counts) => push(text, &heat(counts, most)),
            }
        }
        push(text, "</tr>\n");
    }
    push(text, "</table></div>\n</section>\n");
}

fn heat(counts: &Counts, most: u64) -> String {
    let class = if counts.violations > 0 {
        "bad"
    } else if counts.shadowed + counts.unchecked > 0 {
        "odd"
    } else {
        "good"
    };
    let share = ((counts.states + 1) as f64).ln() / ((most + 1) as f64).ln().max(f64::MIN_POSITIVE);
    let heat = (15.0 + 70.0 * share.clamp(0.0, 1.0)).round();
    let more = match counts.violations {
        0 => String::new(),
        many => format!(
            "<small>{} {}</small>",
            grouped(many),
            if many == 1 { "violation" } else { "violations" }
        ),
    };
    let title = format!(
        "{} cells, {} crash points, {} recoveries, {} shadowed, {} unchecked",
        grouped(counts.cells),
        grouped(counts.points),
        grouped(counts.recoveries),
        grouped(counts.shadowed),
        grouped(counts.unchecked)
    );
    let states = grouped(counts.states);
    format!("<td class=\"{class}\" style=\"--heat:{heat}%\" title=\"{title}\">{states}{more}</td>")
}

fn all_findings(text: &mut String, total: &Total) {
    if total.findings.is_empty() {
        return;
    }
    push(text, "<section>\n<h2>Findings</h2>\n");
    // Of few findings all are open.
    let open = if total.findings.len() <= 3 { " open" } else { "" };
    for ((sim, kind), found) in &total.findings {
        finding(text, sim, kind, found, open);
    }
    push(text, "</section>\n");
}

fn finding(text: &mut String, sim: &str, kind: &Kind, found: &Found, open: &str) {
    let path = findings::path(sim, kind);
    let (path, signature) = (path.display().to_string(), kind.signature.to_string());
    let profiles: Vec<&str> = found.profiles.iter().map(String::as_str).collect();
    let cells = grouped(found.cells);
    push(
        text,
        &format!(
            "<details class=\"finding\"{open}>\n<summary><b>{}</b> {} <code>{}</code> \
             <span>{cells} {}, on {}</span></summary>\n",
            escaped(sim),
            escaped(kind.class.headline()),
            escaped(&signature),
            if found.cells == 1 { "cell" } else { "cells" },
            escaped(&profiles.join(", "))
        ),
    );
    let first = escaped(&found.first.to_string());
    push(text, &format!("<p>First: {first}. In this directory:</p>\n"));
    push(text, &format!("<pre class=\"command\">crashpoint replay {}</pre>\n", escaped(&path)));
    if let Some(best) = &found.best {
        push(text, &format!("<pre>{}</pre>\n", escaped(best.shown.report.trim_end())));
        push(
            text,
            &format!(
                "<details><summary>The case</summary><pre>{}</pre></details>\n",
                escaped(best.shown.case.trim_end())
            ),
        );
    }
    push(text, "</details>\n");
}

fn left(text: &mut String, total: &Total) {
    push(
        text,
        "<section>\n<h2>What is left</h2>\n<table class=\"plain\">\n<tr><th>the next \
         workload shows new</th><th>chance</th><th>seen</th><th>seen once</th>\
         <th>workloads</th></tr>\n",
    );
    for estimate in Estimate::all(total) {
        push(
            text,
            &format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                estimate.species.name(),
                estimate.words(),
                grouped(estimate.seen),
                grouped(estimate.once),
                grouped(estimate.workloads)
            ),
        );
    }
    push(
        text,
        "</table>\n<p class=\"hint\">An estimate after Good and Turing: the share of \
         workloads that showed something that no other one did. Where there is none, the bound is \
         3/n at 95&nbsp;%. It holds for workloads of the same sims and lanes.</p>\n</section>\n",
    );
}

/// New behaviour over cells: a curve that flattens when little is left.
fn curve(text: &mut String, total: &Total) {
    let all = total.curve.last().copied().unwrap_or(0);
    let cells = total.curve.len();
    if cells < 2 || all == 0 {
        return;
    }
    let step = cells.div_ceil(POINTS).max(1);
    let mut line = String::from("0,180");
    let mut indices: Vec<usize> = (0..cells).step_by(step).collect();
    indices.push(cells - 1);
    for index in indices {
        let x = WIDTH * (index + 1) as f64 / cells as f64;
        let y = HEIGHT - (HEIGHT - 8.0) * f64::from(total.curve[index]) / f64::from(all);
        let _ = write!(line, " {x:.1},{y:.1}");
    }
    let (all, cells) = (grouped(u64::from(all)), grouped(cells as u64));
    push(
        text,
        &format!(
            "<section>\n<h2>New behaviour</h2>\n<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{all} behaviours after {cells} cells\">\n\
             <polygon class=\"area\" points=\"{line} {WIDTH},{HEIGHT}\"/>\n\
             <polyline class=\"line\" points=\"{line}\"/>\n</svg>\n<figcaption>{all} signatures, \
             recovery behaviours and crash-state shapes after {cells} cells, in the order of the \
             ledger.</figcaption>\n</figure>\n</section>\n"
        ),
    );
}

fn activation(text: &mut String, total: &Total, universe: &Universe) {
    push(
        text,
        "<section>\n<h2>Activation</h2>\n<p class=\"hint\">How often each thing came up. \
         What stays at zero was not tested.</p>\n<div class=\"groups\">\n",
    );
    let mut groups: BTreeMap<Group, Vec<(&str, u64)>> = BTreeMap::new();
    for ((group, name), times) in universe.table(total) {
        groups.entry(*group).or_default().push((name, times));
    }
    for (group, mut rows) in groups {
        let seen = rows.iter().filter(|(_, times)| *times > 0).count();
        let all = rows.len();
        // Those that never came up are first.
        rows.sort_by_key(|(name, times)| (*times > 0, *name));
        let open = if all <= 16 || seen < all { " open" } else { "" };
        push(
            text,
            &format!(
                "<details{open}><summary>{} <span>{seen} of {all}</span></summary>\n\
                 <table class=\"plain\">\n",
                group.name()
            ),
        );
        for (name, times) in rows {
            let class = if times == 0 { " class=\"odd\"" } else { "" };
            let name = escaped(name);
            push(text, &format!("<tr{class}><td>{name}</td><td>{}</td></tr>\n", grouped(times)));
        }
        push(text, "</table>\n</details>\n");
    }
    push(text, "</div>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_an_engine_stays_text() {
        assert_eq!(
            escaped("<b a='1'>&\"\x1b[31m"),
            "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\u{fffd}[31m"
        );
    }
}
