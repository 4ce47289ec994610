//! How numbers, sizes and times look on the command line and in tables.
//!
//! Every number has a unit that cannot be misread: `k` and `M` are counts, `Ki` and `Mi` are powers of
//! two, `m` is a minute and never a million. Everything is bounded here, once.

use std::time::Duration;

use jiff::Timestamp;

/// The longest time a flag accepts: a year.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);
/// The largest size a flag accepts: one tebibyte.
pub const MAX_SIZE: u64 = 1 << 40;
/// The largest count a flag accepts: 10^12.
pub const MAX_COUNT: u64 = 1_000_000_000_000;

/// `500ms`, `10s`, `1.5m`, `2h`, `1d`; `0` needs no unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    const HINT: &str = "use a number and a unit, such as 500ms, 10s, 5m, 2h or 1d";
    let (number, unit) = split(text, HINT)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "" if number == 0.0 => 1.0,
        "" => return Err(format!("the unit is missing; {HINT}")),
        _ => return Err(format!("unknown unit `{unit}`; {HINT}")),
    };
    let seconds = number * seconds;
    if seconds > MAX_DURATION.as_secs_f64() {
        return Err("too long; at most 365d".into());
    }
    // Rounded to microseconds so that 0.1s is exactly that.
    Ok(Duration::from_micros((seconds * 1e6).round() as u64))
}

/// A name as a shell reads it as one word: with quotes where it needs them.
pub fn quoted(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:@+-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

/// A [`duration`] as milliseconds in 32 bits, which is what AMQP has (2.8.8).
pub fn milliseconds(text: &str) -> Result<u32, String> {
    let duration = duration(text)?;
    u32::try_from(duration.as_millis()).map_err(|_| "too long; at most 49d".to_owned())
}

/// `512`, `10k` (10,000), `1MiB` or `1Mi` (1,048,576), `1.5G`.
pub fn size(text: &str) -> Result<u64, String> {
    const HINT: &str = "use bytes with an optional k, M, G (powers of ten) or Ki, Mi, Gi (powers of two)";
    let (number, unit) = split(text, HINT)?;
    let factor = match unit.trim_end_matches('B') {
        "" => 1u64,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(format!("unknown unit `{unit}`; {HINT}")),
    };
    whole(number * factor as f64, MAX_SIZE, "1024Gi")
}

/// `100`, `10k`, `2M`.
pub fn count(text: &str) -> Result<u64, String> {
    const HINT: &str = "use a whole number with an optional k or M";
    let (number, unit) = split(text, HINT)?;
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "m" => return Err("`m` would be minutes; write M for millions".into()),
        _ => return Err(format!("unknown unit `{unit}`; {HINT}")),
    };
    whole(number * factor, MAX_COUNT, "10^12")
}

/// Messages per second: a [`count`] of at least one.
pub fn rate(text: &str) -> Result<u64, String> {
    match count(text)? {
        0 => Err("at least 1 message per second".into()),
        rate => Ok(rate),
    }
}

fn split<'a>(text: &'a str, hint: &str) -> Result<(f64, &'a str), String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits.parse::<f64>().map_err(|_| hint.to_owned())?;
    Ok((number, unit))
}

fn whole(number: f64, max: u64, max_text: &str) -> Result<u64, String> {
    if number > max as f64 {
        return Err(format!("too large; at most {max_text}"));
    }
    if number.fract() != 0.0 {
        return Err("not a whole number".into());
    }
    Ok(number as u64)
}

/// `1.2 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `850us`, `1.2ms`, `3.4s`, `30s`, and from a minute on an [`uptime`].
pub fn elapsed(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        // 59.95s would be rounded to a minute.
        1_000_000..59_950_000 => {
            let seconds = format!("{:.1}", duration.as_secs_f64());
            format!("{}s", seconds.trim_end_matches(".0"))
        }
        _ => uptime(duration.as_secs_f64().round() as u64),
    }
}

/// `45s`, `12m`, `3h12m`, `7d`: whole seconds in the largest unit, and in the next one what is left of it.
pub fn uptime(seconds: u64) -> String {
    let (of, unit, least, lesser) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (60, "m", 1, "s"),
        3_600..86_400 => (3_600, "h", 60, "m"),
        _ => (86_400, "d", 3_600, "h"),
    };
    match (seconds / of, seconds % of / least) {
        (whole, 0) => format!("{whole}{unit}"),
        (whole, rest) => format!("{whole}{unit}{rest}{lesser}"),
    }
}

/// How long ago something was: an [`uptime`], or `-` when there is no such thing.
pub fn age(since: Option<Timestamp>) -> String {
    let seconds = |since: Timestamp| Timestamp::now().duration_since(since).as_secs();
    // The clock of the node may be ahead of ours.
    since.map_or_else(|| "-".to_owned(), |since| uptime(u64::try_from(seconds(since)).unwrap_or(0)))
}

/// `12,031`.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `12,031 messages`.
pub fn plural(count: u64, what: &str) -> String {
    let (stem, suffix) = match what {
        _ if count == 1 => (what, ""),
        _ if what.ends_with('s') => (what, "es"),
        _ => what.strip_suffix("ery").map_or((what, "s"), |_| (what.trim_end_matches('y'), "ies")),
    };
    format!("{} {stem}{suffix}", number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_name_as_one_word() {
        assert_eq!(quoted("sensors/kitchen-1"), "sensors/kitchen-1");
        assert_eq!(quoted("#"), "'#'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_time_needs_a_unit() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0.1s"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("5").unwrap_err().contains("unit is missing"));
        assert!(duration("5x").unwrap_err().contains("unknown unit `x`"));
        assert!(duration("-5s").is_err());
    }

    #[test]
    fn a_number_beyond_its_bound_is_refused() {
        assert!(duration("366d").unwrap_err().contains("365d"));
        assert!(milliseconds("50d").unwrap_err().contains("49d"));
        assert!(size("2000Gi").unwrap_err().contains("at most 1024Gi"));
        assert!(count("2000000000M").unwrap_err().contains("10^12"));
        assert!(duration(&"9".repeat(400)).is_err());
    }

    #[test]
    fn sizes_tell_powers_of_ten_from_powers_of_two() {
        assert_eq!(size("1k"), Ok(1_000));
        assert_eq!(size("1KiB"), Ok(1_024));
        assert_eq!(size("1.5Mi"), Ok(1_572_864));
        assert!(size("0.3").unwrap_err().contains("whole"));
    }

    #[test]
    fn a_small_m_is_never_a_million() {
        assert_eq!(count("2M"), Ok(2_000_000));
        assert!(count("2m").unwrap_err().contains("minutes"));
    }

    #[test]
    fn a_time_is_said_in_the_units_that_people_say_it_in() {
        let said = [
            (0, "0us"),
            (1_200, "1.2ms"),
            (3_440_000, "3.4s"),
            (30_000_000, "30s"),
            (59_960_000, "1m"),
            (300_000_000, "5m"),
            (330_400_000, "5m30s"),
            (11_520_000_000, "3h12m"),
            (604_800_000_000, "7d"),
            (612_000_000_000, "7d2h"),
        ];
        for (micros, text) in said {
            assert_eq!(elapsed(Duration::from_micros(micros)), text);
        }
        assert_eq!(uptime(0), "0s");
        assert_eq!(uptime(720), "12m");
    }

    #[test]
    fn an_age_is_never_negative() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(age(None), "-");
        assert_eq!(age(Some(Timestamp::now() - hour)), "1h");
        assert_eq!(age(Some(Timestamp::now() + hour)), "0s");
    }

    #[test]
    fn numbers_are_grouped_and_words_agree() {
        assert_eq!(number(1), "1");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(plural(1, "address"), "1 address");
        assert_eq!(plural(2, "stored address"), "2 stored addresses");
        assert_eq!(plural(2, "unsettled delivery"), "2 unsettled deliveries");
        assert_eq!(plural(1000, "message"), "1,000 messages");
    }
}
