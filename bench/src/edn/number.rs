//! The notation of numbers, as Clojure's reader has it.

use compact_str::CompactString;

use super::Edn;

/// The most digits of an integer in another base than ten, and the largest exponent of a
/// decimal: converting takes the square of it.
const MAX_DIGITS: usize = 1000;

/// An integer, ratio, decimal or float, if the token is one.
pub(super) fn number(token: &str) -> Option<Edn> {
    if let Some(number) = small(token) {
        return Some(Edn::Int(number));
    }
    let unsigned = token.strip_prefix(['-', '+']).unwrap_or(token);
    let negative = token.starts_with('-');
    if let Some((over, under)) = unsigned.split_once('/') {
        return ratio(negative, over, under);
    }
    if let Some(plain) = token.strip_suffix('M') {
        return decimal(plain);
    }
    let (digits, big) = match unsigned.strip_suffix('N') {
        Some(digits) => (digits, true),
        None => (unsigned, false),
    };
    let in_base = in_base(digits);
    let digits = in_base.as_deref().unwrap_or(digits);
    if !are_digits(digits) {
        return if big { None } else { float(token) };
    }
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    let sign = if negative && digits != "0" { "-" } else { "" };
    let text = format!("{sign}{digits}");
    if big {
        return Some(Edn::BigInt(text));
    }
    // As Clojure's reader: a number that does not fit into 64 bits becomes a big integer.
    Some(text.parse().map_or(Edn::BigInt(text), Edn::Int))
}

/// A decimal integer of up to 18 digits: nearly all numbers are.
fn small(token: &str) -> Option<i64> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let is_plain = digits.len() <= 18 && (digits == "0" || !digits.starts_with('0'));
    if digits.is_empty() || !is_plain || !are_digits(digits) {
        return None;
    }
    token.parse().ok()
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// The decimal digits of `0x1F`, `017` or `36rZZ`.
fn in_base(digits: &str) -> Option<String> {
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (base, digits) = if let Some(rest) = hexadecimal {
        (16, rest)
    } else if let Some((base, rest)) = digits.split_once(['r', 'R']) {
        (base.parse().ok().filter(|base| (2..=36).contains(base))?, rest)
    } else {
        (8, digits.strip_prefix('0').filter(|rest| !rest.is_empty())?)
    };
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    // Decimal digits, the lowest first.
    let mut decimal: Vec<u32> = vec![0];
    for digit in digits.chars() {
        let mut carry = digit.to_digit(base)?;
        for place in &mut decimal {
            carry += *place * base;
            (*place, carry) = (carry % 10, carry / 10);
        }
        while carry > 0 {
            decimal.push(carry % 10);
            carry /= 10;
        }
    }
    Some(decimal.iter().rev().map(u32::to_string).collect())
}

/// `1/3` in lowest terms, or an integer if the denominator divides the numerator.
fn ratio(negative: bool, over: &str, under: &str) -> Option<Edn> {
    // A sign belongs in front of both.
    if !are_digits(over) || !are_digits(under) {
        return None;
    }
    let (over, under): (u64, u64) = (over.parse().ok()?, under.parse().ok()?);
    let divisor = gcd(over, under);
    let (over, under) = (over.checked_div(divisor)?, under / divisor);
    let sign = if negative { -1 } else { 1 };
    let over = i64::try_from(i128::from(over) * sign).ok()?;
    match under {
        0 => None,
        1 => Some(Edn::Int(over)),
        under => Some(Edn::Ratio(over, under)),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The parts of `digits [. digits] [e [sign] digits]`: narrower than Rust's.
fn parts(unsigned: &str) -> Option<(&str, &str, Option<&str>)> {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_fine = exponent.is_none_or(|e| {
        let digits = e.strip_prefix(['-', '+']).unwrap_or(e);
        !digits.is_empty() && are_digits(digits)
    });
    let is_fine = !whole.is_empty() && are_digits(whole) && are_digits(fraction);
    (is_fine && exponent_is_fine).then_some((whole, fraction, exponent))
}

fn float(token: &str) -> Option<Edn> {
    parts(token.strip_prefix(['-', '+']).unwrap_or(token))?;
    token.parse().ok().map(Edn::Float)
}

/// A decimal without its `M`. An exponent is carried out, so that equal numbers have
/// equal digits.
fn decimal(plain: &str) -> Option<Edn> {
    let (whole, fraction, exponent) = parts(plain.strip_prefix(['-', '+']).unwrap_or(plain))?;
    let exponent: i64 = exponent.map_or(Some(0), |e| e.parse().ok())?;
    let (mut whole, mut fraction) = (whole.to_owned(), fraction.to_owned());
    if exponent.unsigned_abs() as usize > MAX_DIGITS {
        return None;
    }
    for _ in 0..exponent.max(0) {
        whole.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
    }
    for _ in exponent.min(0)..0 {
        fraction.insert(0, whole.pop().unwrap_or('0'));
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    let is_zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
    let sign = if plain.starts_with('-') && !is_zero { "-" } else { "" };
    Some(Edn::Decimal(CompactString::from(format!("{sign}{whole}{point}{fraction}"))))
}
