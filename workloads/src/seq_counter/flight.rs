//! The cas of this node: for its own batch, and for the guests'.

use std::time::Duration;

use rand_core::Rng;
use seaworthy::message::{Body, ErrorCode, RpcError};
use seaworthy::node::Context;

use super::change::{Cas, CombineOk, Read, Value, ValueIs, Write, sum};
use super::{
    Batch, By, CAS, Flight, Guest, KEY, LOOK, PAUSE, READ, REFRESH, RETRY, SERVICE, SeqCounter,
    TIMEOUT, TURN, TURN_ATTEMPTS,
};

impl SeqCounter {
    /// Begins a cas for the guests and for a batch of its own; so many before it were refused.
    pub(super) fn take_off(&mut self, cx: &mut Context<'_>, losses: u32) {
        let mut own = self.batch.as_mut().filter(|batch| matches!(batch.by, By::Itself));
        if self.flight.is_some() || self.yields || (own.is_none() && self.guests.is_empty()) {
            return;
        }
        let from = self.seen.clone();
        let mut to = from.clone().unwrap_or_default();
        for guest in &mut self.guests {
            guest.is_aboard = true;
            guest.change.apply(&guest.node, &mut to);
        }
        if let Some(batch) = &mut own {
            batch.is_aboard = true;
            batch.change.apply(cx.id(), &mut to);
        }
        if from.as_ref() == Some(&to) {
            // No change starts from this value. Only a success proves that it is not a past one.
            let tag = self.tag();
            to.entry(cx.id().clone()).or_default().1 = tag;
        }
        self.flight = Some(Flight { from, to, sent: cx.now(), losses });
        self.send(cx);
    }

    pub(super) fn send(&mut self, cx: &mut Context<'_>) {
        let Some(Flight { from, to, sent, .. }) = &mut self.flight else { return };
        *sent = cx.now();
        let cas = Cas { kind: "cas", key: KEY, from, to, create_if_not_exists: true };
        cx.rpc(&SERVICE.into(), &cas, TIMEOUT, CAS);
    }

    pub(super) fn cas_ended(&mut self, cx: &mut Context<'_>, result: Result<Body, RpcError>) {
        match result {
            Ok(_) => self.land(cx),
            Err(e) if e.code == ErrorCode::PRECONDITION_FAILED => self.lose(cx),
            Err(e) if e.code == ErrorCode::TIMEOUT => self.send(cx),
            Err(_) => cx.set_timer(RETRY, PAUSE),
        }
    }

    /// The cas was refused: reads the value. In step with rivals each read may come just before
    /// another one's success, so from the second time on it waits for a part of an attempt.
    fn lose(&mut self, cx: &mut Context<'_>) {
        let Some(flight) = &mut self.flight else { return };
        flight.losses += 1;
        let attempt = cx.now() - flight.sent;
        if flight.losses == 1 || attempt.is_zero() {
            return self.look(cx);
        }
        let wait = at_random(cx, attempt);
        cx.set_timer(LOOK, wait);
    }

    /// Reads the value. The service shows the past to a client that only reads, and what it
    /// has shown last to one that writes: the write to a key of no interest, and whose
    /// answer does not matter, spares cas that start from the past.
    pub(super) fn look(&mut self, cx: &mut Context<'_>) {
        self.tags += 1;
        let key = cx.id().clone();
        let refresh = Write { kind: "write", key: &key, value: self.tags };
        cx.rpc(&SERVICE.into(), &refresh, TIMEOUT, REFRESH);
        cx.rpc(&SERVICE.into(), &Read { kind: "read", key: KEY }, TIMEOUT, READ);
    }

    /// The cas was refused; `result` is the value, perhaps a past one.
    pub(super) fn read_ended(&mut self, cx: &mut Context<'_>, result: Result<Body, RpcError>) {
        match result.and_then(|body| body.parse()) {
            Ok(ValueIs { value }) => {
                self.adopt(cx, value, |guest, value| guest.change.is_in(&guest.node, value));
                let losses = self.flight.take().map_or(0, |flight| flight.losses);
                self.take_off(cx, losses);
            }
            Err(e) if e.code == ErrorCode::TIMEOUT => self.look(cx),
            // Also if the key does not exist: that answer is from the past.
            Err(_) => cx.set_timer(RETRY, PAUSE),
        }
    }

    /// The cas has taken effect: answers, and leaves rivals some time.
    fn land(&mut self, cx: &mut Context<'_>) {
        let Some(Flight { to, sent, .. }) = self.flight.take() else { return };
        let attempt = cx.now() - sent;
        if !attempt.is_zero() && cx.node_ids().len() > 1 {
            self.yields = true;
            let turn = at_random(cx, attempt * TURN_ATTEMPTS);
            cx.set_timer(TURN, turn);
        }
        let is_excluded = |batch: &Batch| batch.is_aboard && !batch.change.is_in(cx.id(), &to);
        if self.batch.as_ref().is_some_and(is_excluded) {
            self.renew(to.get(cx.id()).cloned());
        }
        self.adopt(cx, to, |guest, _| guest.is_aboard);
        self.take_off(cx, 0);
    }

    /// Takes a value for the present one, and answers those whom it tells enough. A batch that
    /// was taken is noticed here, before this node changes its entry again.
    fn adopt(
        &mut self,
        cx: &mut Context<'_>,
        value: Value,
        tells: impl Fn(&Guest, &Value) -> bool,
    ) {
        let sum = sum(&value);
        for Guest { request, node, .. } in self.guests.extract_if(.., |guest| tells(guest, &value))
        {
            let entry = value.get(&node).cloned();
            cx.reply(&request, &CombineOk { kind: "combine_ok", entry, sum });
        }
        let is_done = self.batch.as_ref().is_some_and(|batch| batch.change.is_in(cx.id(), &value));
        self.seen = Some(value);
        if is_done {
            self.answer(cx, sum);
        }
    }
}

/// A random part of `most`.
fn at_random(cx: &mut Context<'_>, most: Duration) -> Duration {
    most.mul_f64(f64::from(cx.rng().next_u32()) / f64::from(u32::MAX))
}
