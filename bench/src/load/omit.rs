//! A load without some of its operations, for a run in which they do not matter.

use std::time::Duration;

use super::{Ask, Client, Completion, Connection, Invocation, Load, Next};

/// How many operations in a row may be passed over before the free workers count as idle.
const PASSED_OVER: usize = 1000;

/// The load without operations of these names.
pub fn omitting(inner: Box<dyn Load>, omitted: &[String]) -> Box<dyn Load> {
    if omitted.is_empty() {
        return inner;
    }
    Box::new(Omitting { inner, omitted: omitted.to_vec() })
}

struct Omitting {
    inner: Box<dyn Load>,
    omitted: Vec<String>,
}

impl Omitting {
    fn is_omitted(&self, next: &Next) -> bool {
        let Next::Invoke(_, op) = next else { return false };
        self.omitted.iter().any(|f| *f == op.f)
    }
}

impl Load for Omitting {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        for _ in 0..PASSED_OVER {
            let next = self.inner.next(ask);
            if !self.is_omitted(&next) {
                return next;
            }
        }
        // The workers that are free now may have nothing else to do.
        Next::Pending
    }

    fn next_last(&mut self, ask: &mut Ask<'_>) -> Next {
        self.inner.next_last(ask)
    }

    fn has_last_phase(&self) -> bool {
        self.inner.has_last_phase()
    }

    fn completed(&mut self, worker: usize, op: &Invocation, completion: &Completion) {
        self.inner.completed(worker, op, completion);
    }

    fn after_info(&self) -> Connection {
        self.inner.after_info()
    }

    fn patience(&self) -> Duration {
        self.inner.patience()
    }

    fn client(&self) -> Box<dyn Client> {
        self.inner.client()
    }

    fn preparation(&self) -> Vec<(usize, String, &'static str)> {
        self.inner.preparation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::lin_kv::LinKv;
    use crate::load::testing::{ask_all, config};

    #[test]
    fn the_others_come_and_no_operation_that_is_left_out() {
        let load = || Box::new(LinKv::new(&config("-w lin-kv --concurrency 10")).unwrap());
        let mut without = omitting(load(), &["cas".to_owned(), "read".to_owned()]);
        let all = ask_all(&mut *without, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 50);
        assert!(all.iter().all(|(_, op)| op.f == "write"));
    }
}
