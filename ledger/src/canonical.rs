//! One JSON value, one text: RFC 8785, so that a hash over JSON means something.
//!
//! Never changes a value: what RFC 8785 could only write by rounding is refused.

use serde_json::Value;

/// The largest integer that a double holds exactly, 2^53 - 1 (RFC 8785 appendix D).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// How deep arrays and objects may lie within each other; readers have limits too, and what is written must be readable.
pub const MAX_DEPTH: usize = 32;

/// A value that has no exact canonical text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CanonicalError {
    /// A number beyond plus or minus 2^53 - 1.
    #[error("the number {0} is beyond 2^53 - 1 and would be rounded: write it as a string")]
    TooLarge(String),
    /// Arrays and objects within each other, more than [`MAX_DEPTH`] deep.
    #[error("arrays and objects are more than {MAX_DEPTH} deep: flatten them")]
    TooDeep,
}

/// The canonical text of `value` (RFC 8785): no white space, members sorted by UTF-16 code units, shortest escapes and numbers.
pub fn text(value: &Value) -> Result<String, CanonicalError> {
    let mut out = String::new();
    write(value, &mut out, MAX_DEPTH)?;
    Ok(out)
}

/// Appends the canonical text of `value`, at most `depth` deep, to `out`.
fn write(value: &Value, out: &mut String, depth: usize) -> Result<(), CanonicalError> {
    let deeper = || depth.checked_sub(1).ok_or(CanonicalError::TooDeep);
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number_text(number)?),
        Value::String(string) => write_string(string, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out, deeper()?)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (name, member)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write(member, out, deeper()?)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Appends `string` in quotes with the escapes of RFC 8785 section 3.2.2.2.
fn write_string(string: &str, out: &mut String) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The text of a number as ECMAScript writes it (RFC 8785 section 3.2.2.3).
fn number_text(number: &serde_json::Number) -> Result<String, CanonicalError> {
    let too_large = || CanonicalError::TooLarge(number.to_string());
    if let Some(integer) = number.as_u64() {
        return (integer <= MAX_INTEGER).then(|| integer.to_string()).ok_or_else(too_large);
    }
    if let Some(integer) = number.as_i64() {
        return (integer.unsigned_abs() <= MAX_INTEGER).then(|| integer.to_string()).ok_or_else(too_large);
    }
    // A larger float would be written with the digits of an integer, and read back as one.
    let exact = |float: &f64| float.abs() <= MAX_INTEGER as f64;
    number.as_f64().filter(exact).map(float_text).ok_or_else(too_large)
}

/// The text of a finite double: Rust knows the shortest digits, ECMAScript says where the point goes.
fn float_text(float: f64) -> String {
    if float == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:e}", float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (count, point) = (i32::try_from(digits.len()).unwrap_or(i32::MAX), exponent + 1);
    let sign = if float < 0.0 { "-" } else { "" };
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or(0).min(digits.len()));
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    match point {
        p if count <= p && p <= 21 => format!("{sign}{digits}{}", zeros(p - count)),
        p if 0 < p && p <= 21 => format!("{sign}{}.{}", split(p).0, split(p).1),
        p if -6 < p && p <= 0 => format!("{sign}0.{}{digits}", zeros(-p)),
        _ => {
            let mark = if exponent < 0 { "-" } else { "+" };
            let (first, rest) = split(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{sign}{first}{dot}{rest}e{mark}{}", exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_sorted_by_utf_16_code_units_as_in_the_rfc() {
        // RFC 8785 section 3.2.3: U+1F600 is a surrogate pair, so it sorts before U+FB33.
        let value =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let names = ["\\r", "1", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"];
        let text = text(&value).unwrap();
        let positions: Vec<_> = names.iter().map(|n| text.find(&format!("\"{n}\":")).unwrap()).collect();
        assert!(positions.is_sorted(), "{text}");
    }

    #[test]
    fn numbers_read_as_ecmascript_writes_them() {
        // RFC 8785 appendix B.
        for (bits, expected) in [
            (0x0000000000000000u64, "0"),
            (0x8000000000000000, "0"),
            (0x0000000000000001, "5e-324"),
            (0x8000000000000001, "-5e-324"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0x4340000000000000, "9007199254740992"),
            (0x4430000000000000, "295147905179352830000"),
            (0x44b52d02c7e14af5, "9.999999999999997e+22"),
            (0x44b52d02c7e14af6, "1e+23"),
            (0x444b1ae4d6e2ef4e, "999999999999999700000"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
            (0x3eb0c6f7a0b5ed8d, "0.000001"),
            (0x41b3de4355555555, "333333333.3333333"),
            (0xbecbf647612f3696, "-0.0000033333333333333333"),
        ] {
            assert_eq!(float_text(f64::from_bits(bits)), expected);
        }
    }

    #[test]
    fn an_integer_that_would_be_rounded_is_refused() {
        assert_eq!(text(&json!(MAX_INTEGER)).unwrap(), "9007199254740991");
        assert!(text(&json!([{"n": MAX_INTEGER + 1}])).is_err());
        assert!(text(&json!(i64::MIN)).is_err());
        assert!(text(&json!(1e17)).is_err());
        assert_eq!(text(&json!([5.0, -0.0, 0.1])).unwrap(), "[5,0,0.1]");
    }

    #[test]
    fn what_readers_could_not_follow_down_is_refused() {
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(text(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(text(&nested(MAX_DEPTH + 1)), Err(CanonicalError::TooDeep));
    }

    proptest! {
        #[test]
        fn strings_survive_and_agree_with_serde_json(string in any::<String>()) {
            let ours = text(&Value::String(string.clone())).unwrap();
            prop_assert_eq!(&ours, &serde_json::to_string(&string).unwrap());
        }

        #[test]
        fn what_was_written_reads_back_and_is_written_the_same(float in any::<f64>(), integer in any::<i64>()) {
            for value in [json!(float), json!(integer), json!({"a": [float, integer]})] {
                if let Ok(once) = text(&value) {
                    let read: Value = serde_json::from_str(&once).unwrap();
                    prop_assert_eq!(text(&read).unwrap(), once);
                }
            }
        }

        #[test]
        fn the_text_of_a_float_reads_back_as_it(float in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            prop_assert_eq!(float_text(float).parse::<f64>().unwrap(), float);
        }
    }
}
