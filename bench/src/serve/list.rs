//! Which runs a list shows, and in which order: the query of its address.

use super::path::{decode, encode};
use super::runs::Row;

/// Runs on one page.
pub(super) const PAGE: usize = 200;

/// The query of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Query {
    /// Only this workload; empty for all.
    pub(super) workload: String,
    /// Only this verdict; empty for all.
    pub(super) verdict: String,
    /// Only runs in whose command or reason this text is.
    pub(super) text: String,
    /// The column by which to sort: `time`, or a number's name; with a `-` the highest first.
    pub(super) sort: String,
    /// The page, from 0.
    pub(super) page: usize,
    /// Runs that were chosen, as `WORKLOAD/NAME`.
    pub(super) chosen: Vec<String>,
}

impl Query {
    /// Reads `a=b&c=d`. An unknown name is left out.
    pub(super) fn of(text: &str) -> Query {
        let mut query = Query::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let Some(value) = decode(&value.replace('+', " ")) else { continue };
            match name {
                "workload" => query.workload = value,
                "verdict" => query.verdict = value,
                "text" => query.text = value,
                "sort" => query.sort = value,
                "page" => query.page = value.parse().unwrap_or(0),
                "run" => query.chosen.push(value),
                _ => {}
            }
        }
        query
    }

    /// The address of the list with this query.
    pub(super) fn address(&self) -> String {
        let Query { workload, verdict, text, sort, page, .. } = self;
        let parts = [("workload", workload), ("verdict", verdict), ("text", text), ("sort", sort)];
        let parts = parts.map(|(name, value)| format!("{name}={}", encode(value)));
        format!("/?{}&page={page}", parts.join("&"))
    }

    /// The runs that it asks for, in its order.
    pub(super) fn apply(&self, mut rows: Vec<Row>) -> Vec<Row> {
        rows.retain(|row| {
            let has_text = |row: &Row| {
                let card = row.card.as_ref();
                card.is_some_and(|card| {
                    card.command.contains(&self.text) || card.why.contains(&self.text)
                })
            };
            (self.workload.is_empty() || row.workload == self.workload)
                && (self.verdict.is_empty() || row.verdict() == self.verdict)
                && (self.text.is_empty() || has_text(row))
        });
        let (name, is_falling) = match self.sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (&*self.sort, false),
        };
        let key = |row: &Row| {
            let card = row.card.as_ref()?;
            match name {
                "operations" => Some(card.operations as f64),
                "msgs" => card.msgs_per_op,
                "p50" => card.p50_ms,
                "p99" => card.p99_ms,
                _ => None,
            }
        };
        if matches!(name, "operations" | "msgs" | "p50" | "p99") {
            let missing = if is_falling { f64::NEG_INFINITY } else { f64::INFINITY };
            rows.sort_by(|a, b| {
                let order = key(a).unwrap_or(missing).total_cmp(&key(b).unwrap_or(missing));
                if is_falling { order.reverse() } else { order }
            });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::runs::Numbers;
    use super::*;

    fn row(workload: &str, verdict: &str, p99: f64) -> Row {
        let card = Numbers { verdict: verdict.into(), p99_ms: Some(p99), ..Numbers::default() };
        Row { workload: workload.into(), card: Some(card), ..Row::default() }
    }

    #[test]
    fn a_list_is_filtered_and_sorted() {
        let rows = vec![
            row("echo", "valid", 3.0),
            row("echo", "invalid", 1.0),
            row("kafka", "valid", 2.0),
        ];
        let names = |query: &str| -> Vec<f64> {
            let rows = Query::of(query).apply(rows.clone());
            rows.iter().filter_map(|row| row.card.as_ref()?.p99_ms).collect()
        };
        assert_eq!(names("sort=p99"), [1.0, 2.0, 3.0]);
        assert_eq!(names("sort=-p99&verdict=valid"), [3.0, 2.0]);
        assert_eq!(names("workload=kafka"), [2.0]);
        assert_eq!(names("workload=%6bafka&x"), [2.0]);
    }

    #[test]
    fn a_query_survives_its_address() {
        let query = Query { text: "a&b= <".into(), page: 3, ..Query::default() };
        assert_eq!(Query::of(query.address().strip_prefix("/?").unwrap()), query);
    }
}
