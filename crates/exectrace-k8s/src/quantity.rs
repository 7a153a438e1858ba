//! Kubernetes' quantities (`500m`, `64Mi`, `1e3`) as numbers, since the API server writes them in another form than
//! they were given in.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Suffixes, and how many of their thousandths they are. The smaller ones, `n` and `u`, are of use to no request.
const SUFFIXES: [(&str, i128); 14] = [
    ("Ki", 1000 << 10),
    ("Mi", 1000 << 20),
    ("Gi", 1000 << 30),
    ("Ti", 1000 << 40),
    ("Pi", 1000 << 50),
    ("Ei", 1000 << 60),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000),
    ("", 1000),
];

/// Its thousandths, rounded up as the API server does; `None`: it is no quantity, or one beyond all use.
pub(crate) fn milli(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    if let Some((number, exponent)) = text.split_once(['e', 'E']).filter(|(_, rest)| is_exponent(rest)) {
        let power = exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().ok()?;
        return match u32::try_from(power) {
            Ok(power) => scaled(number, 1000_i128.checked_mul(10_i128.checked_pow(power)?)?, 1),
            Err(_) => scaled(number, 1000, 10_i128.checked_pow(power.unsigned_abs())?),
        };
    }
    let (suffix, thousandths) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix))?;
    scaled(&text[..text.len() - suffix.len()], *thousandths, 1)
}

/// Whether both are the same amount. Two that are no quantities are the same if they are the same text.
pub(crate) fn same(one: &Quantity, other: &Quantity) -> bool {
    match (milli(one), milli(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.0 == other.0,
    }
}

/// Not what is left of `1E` or `1Ei`.
fn is_exponent(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '+' || first == '-')
}

/// `number` times `factor`, by `divisor`, rounded up.
fn scaled(number: &str, factor: i128, divisor: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if !digits.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let divisor = divisor.checked_mul(10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let product = digits.parse::<i128>().ok()?.checked_mul(factor)?;
    Some(product.div_euclid(divisor) + i128::from(product.rem_euclid(divisor) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<i128> {
        milli(&Quantity(text.to_owned()))
    }

    #[test]
    fn the_same_amount_in_other_words_is_the_same() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            ("1Ki", "1024"),
            ("1e3", "1k"),
            ("1Ei", "1024Pi"),
            ("0.1Ki", "102400m"),
            ("5E-1", "500m"),
        ] {
            assert!(of(one).is_some(), "{one}");
            assert_eq!(of(one), of(other), "{one} {other}");
        }
        assert_ne!(of("1M"), of("1Mi"));
        assert_eq!(of("1E"), of("1e18"));
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "much", "1.2.3", "1x", "-", "1e99", "--1", "Mi", "1 Mi"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
