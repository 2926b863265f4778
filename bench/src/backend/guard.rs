//! A simulated node that panics is a node that crashed, not a bench that did.
//!
//! The panic ends at the node's machine, which reports it as a fault of that node,
//! with the place. Nothing is printed on the way: where thousands of runs are
//! explored, the report has it once. A panic of the bench itself is none of these
//! and goes on its way.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Calls a node's code.
///
/// # Errors
/// The message and the place of its panic. The state that the code was working on is torn and must
/// not be used again.
pub(super) fn guard(code: impl FnOnce()) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if INSIDE.get() {
                PLACE.with_borrow_mut(|place| *place = tell_place(info));
            } else {
                others(info);
            }
        }));
    });
    INSIDE.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    INSIDE.set(false);
    result.map_err(|payload| {
        let place = PLACE.with_borrow(String::clone);
        format!("{} at {place}", text_of(&*payload))
    })
}

/// The message of a panic.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

fn tell_place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "?".to_owned(), |l| format!("{}:{}", l.file(), l.line()))
}
