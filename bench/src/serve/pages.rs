//! The answer to each request.

use std::fs::{self, File};
use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::list::{PAGE, Query};
use super::live;
use super::path::{decode, encode, inside};
use super::runs::{Row, names, row};
use super::site::Site;
use crate::history;
use crate::plot::chart;
use crate::report;

const STYLE: &str = concat!(include_str!("style.css"), include_str!("../plot/style.css"));

/// The answer to a request.
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// The type of the content.
    pub kind: &'static str,
    /// The content.
    pub body: Body,
}

/// The content of an answer.
pub enum Body {
    /// A page.
    Text(String),
    /// A file of the store.
    File(File),
}

/// The answer to a request for this address, a path with a query.
pub fn answer(site: &Site, address: &str) -> Answer {
    let store = &site.store;
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    match path {
        "/" => page("Runs", &list(store, &Query::of(query)), None),
        "/compare" => page("Two runs", &compare(store, &Query::of(query)), None),
        _ => match path.strip_prefix("/files/") {
            Some(path) => file(site, path),
            None => missing(),
        },
    }
}

fn missing() -> Answer {
    Answer { status: 404, ..page("Not found", &html! { p { "There is nothing here." } }, None) }
}

fn page(title: &str, content: &Markup, refresh_s: Option<u32>) -> Answer {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if let Some(seconds) = refresh_s { meta http-equiv="refresh" content=(seconds); }
                title { (title) " - seaworthy" }
                style { (PreEscaped(STYLE)) }
            }
            body { h1 { a href="/" { "seaworthy" } " / " (title) } (content) }
        }
    };
    Answer { status: 200, kind: "text/html; charset=utf-8", body: Body::Text(page.into_string()) }
}

fn list(store: &Path, query: &Query) -> Markup {
    let all = names(store);
    let mut workloads: Vec<&String> = all.iter().map(|(workload, _)| workload).collect();
    workloads.sort();
    workloads.dedup();
    let rows = all.iter().map(|(workload, name)| row(store, workload, name)).collect();
    let rows = query.apply(rows);
    let count = rows.len();
    let sorted = |sort: &str| Query { sort: sort.to_owned(), page: 0, ..query.clone() }.address();
    let turned = |page: usize| Query { page, ..query.clone() }.address();
    html! {
        form class="tools" action="/" {
            select name="workload" {
                option value="" { "every workload" }
                @for workload in &workloads {
                    option value=(workload) selected[**workload == query.workload] { (workload) }
                }
            }
            select name="verdict" {
                option value="" { "every verdict" }
                @for verdict in ["valid", "invalid", "unknown", "running"] {
                    option value=(verdict) selected[verdict == query.verdict] { (verdict) }
                }
            }
            input type="text" name="text" value=(query.text) placeholder="in flags or reason";
            input type="hidden" name="sort" value=(query.sort);
            button { "Filter" }
        }
        form action="/compare" {
            p { (count) " of " (all.len()) " runs. Choose two and " button { "compare" } }
            table {
                tr {
                    th {} th { a href=(sorted("time")) { "run" } } th { "verdict" } th { "nemesis" }
                    th { a href=(sorted("-operations")) { "operations" } } th { a href=(sorted("msgs")) { "msgs/op" } }
                    th { a href=(sorted("p50")) { "p50, ms" } } th { a href=(sorted("-p99")) { "p99, ms" } } th { "why" }
                }
                @for row in rows.iter().skip(query.page.saturating_mul(PAGE)).take(PAGE) { (line(row)) }
            }
        }
        p class="tools" {
            @if query.page > 0 { a href=(turned(query.page - 1)) { "newer" } }
            @if query.page.saturating_add(1).saturating_mul(PAGE) < count { a href=(turned(query.page + 1)) { "older" } }
        }
    }
}

fn files(row: &Row) -> String {
    format!("/files/{}/{}/", encode(&row.workload), encode(&row.name))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.2}"))
}

fn line(row: &Row) -> Markup {
    let card = row.card.clone().unwrap_or_default();
    let id = format!("{}/{}", row.workload, row.name);
    html! {
        tr {
            td { input type="checkbox" name="run" value=(id); }
            td class="left" {
                a href={ (files(row)) @if row.has_report { (report::FILE) } } { (row.workload) " " (row.name) }
                " " a class="quiet" href=(files(row)) { "files" }
            }
            td class=(row.verdict()) { (row.verdict()) }
            td class="left" { (row.nemesis()) }
            td { (card.operations) } td { (number(card.msgs_per_op)) } td { (number(card.p50_ms)) } td { (number(card.p99_ms)) }
            td class="left why" { (crate::check::quote(&crate::edn::Edn::Symbol(card.why.as_str().into()))) }
        }
    }
}

fn compare(store: &Path, query: &Query) -> Markup {
    let chosen: Vec<Row> = query
        .chosen
        .iter()
        .take(4)
        .filter_map(|id| {
            // The same check as for files; a run that is not there is left out.
            inside(store, &id.split('/').map(encode).collect::<Vec<_>>().join("/"))?;
            let (workload, name) = id.split_once('/')?;
            Some(row(store, workload, name))
        })
        .collect();
    if chosen.len() < 2 {
        return html! { p { "Choose two runs or more in the list." } };
    }
    let series: Vec<chart::Series> = chosen
        .iter()
        .filter_map(|row| {
            let path = store.join(&row.workload).join(&row.name).join("history.edn");
            Some(report::series(
                &format!("{} {}", row.workload, row.name),
                &history::read(&path).ok()?,
            ))
        })
        .collect();
    html! {
        table {
            tr { th {} th { "run" } th { "verdict" } th { "nemesis" } th { "operations" } th { "msgs/op" } th { "p50, ms" } th { "p99, ms" } th { "why" } }
            @for row in &chosen { (line(row)) }
        }
        @for row in &chosen { pre { (row.card.as_ref().map_or("", |card| &*card.command)) } }
        h2 { "Quantiles of the latency: median solid, 0.99 dashed" }
        (PreEscaped(chart::quantiles(&series, &[])))
        h2 { "Operations a second that succeeded" }
        (PreEscaped(chart::rate(&series, &[])))
    }
}

fn file(site: &Site, requested: &str) -> Answer {
    let Some(path) = inside(&site.store, requested) else { return missing() };
    if path.is_dir() {
        return directory(site, &path, requested);
    }
    // Neither a pipe nor a device is a file of a run.
    let opened =
        fs::metadata(&path).ok().filter(fs::Metadata::is_file).and_then(|_| File::open(&path).ok());
    let Some(file) = opened else { return missing() };
    let kind = match path.extension().and_then(|end| end.to_str()) {
        Some("html") if is_ours(&path) => "text/html; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        // Whatever a node wrote: text, and never a page.
        _ => "text/plain; charset=utf-8",
    };
    Answer { status: 200, kind, body: Body::File(file) }
}

/// Whether the bench wrote a page, and not a node into its data.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let is_of_run = path.parent().is_some_and(|dir| dir.join("jepsen.log").is_file());
    is_of_run && name.is_some_and(|name| [report::FILE, report::TIMELINE].contains(&name))
}

fn directory(site: &Site, path: &Path, requested: &str) -> Answer {
    let title = decode(requested.trim_end_matches('/')).unwrap_or_default();
    let Ok(entries) = fs::read_dir(path) else { return missing() };
    let mut names: Vec<(String, u64, bool)> = entries
        .flatten()
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((entry.file_name().into_string().ok()?, about.len(), about.is_dir()))
        })
        .collect();
    names.sort();
    let base = format!("/files/{}/", requested.trim_matches('/'));
    let is_going_on = live::is_going_on(path);
    let content = html! {
        @if is_going_on { (live::tell(site, path)) }
        table {
            @for (name, bytes, is_dir) in names.iter().take(5000) {
                tr {
                    td class="left" { a href={ (base) (encode(name)) @if *is_dir { "/" } } { (name) } }
                    td { @if !is_dir { (bytes) } }
                }
            }
        }
    };
    page(&title, &content, is_going_on.then_some(2))
}
