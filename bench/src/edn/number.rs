//! The notation of numbers.

use super::Edn;

/// An integer or float, if the token is one.
pub(super) fn number(token: &str) -> Option<Edn> {
    let unsigned = token.strip_prefix(['-', '+']).unwrap_or(token);
    let negative = token.starts_with('-');
    let (digits, big) = match unsigned.strip_suffix('N') {
        Some(digits) => (digits, true),
        None => (unsigned, false),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return if big { None } else { float(token) };
    }
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    let sign = if negative && digits != "0" { "-" } else { "" };
    if big {
        return Some(Edn::BigInt(format!("{sign}{digits}")));
    }
    // As Clojure's reader: what does not fit into 64 bits becomes a big integer.
    Some(match token.parse() {
        Ok(int) => Edn::Int(int),
        Err(_) => Edn::BigInt(format!("{sign}{digits}")),
    })
}

/// `digits [. digits] [e [sign] digits]`: narrower than what Rust accepts.
fn float(token: &str) -> Option<Edn> {
    let unsigned = token.strip_prefix(['-', '+']).unwrap_or(token);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_is_fine = exponent.is_none_or(|e| {
        let digits = e.strip_prefix(['-', '+']).unwrap_or(e);
        !digits.is_empty() && all_digits(digits)
    });
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || !exponent_is_fine {
        return None;
    }
    token.parse().ok().map(Edn::Float)
}
