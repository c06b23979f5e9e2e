//! Moments, as attributes write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use polyvirt_xml::{Scalar, Style, Value, ValueContext, ValueError, ValueKind};

/// A second in UTC: `2010-04-09T15:51:00`. It is one that exists; leap seconds do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl DateTime {
    fn read(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T')?;
        let mut date = date.splitn(3, '-').map(|part| number(part, 4));
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let mut time = time.splitn(3, ':').map(|part| number(part, 2));
        let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
        let exists = (1..=12).contains(&month)
            && (1..=days(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let small = |number: u16| u8::try_from(number).ok();
        exists.then_some(Self {
            year,
            month: small(month)?,
            day: small(day)?,
            hour: small(hour)?,
            minute: small(minute)?,
            second: small(second)?,
        })
    }
}

impl DateTime {
    /// Seconds since the beginning of 1970; before that they are negative.
    #[must_use]
    pub fn seconds(self) -> i64 {
        let years = i64::from(self.year);
        // Days of whole years, by the Gregorian rule, from year 0 on.
        let before = |year: i64| year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
        let months: i64 = (1..u16::from(self.month)).map(|month| i64::from(days(self.year, month))).sum();
        let days = before(years) - before(1970) + months + i64::from(self.day) - 1;
        days * 86400 + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)
    }
}

fn number(text: &str, most: usize) -> Option<u16> {
    let digits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn days(year: u16, month: u16) -> u16 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

impl FromStr for DateTime {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::read(text.trim()).ok_or_else(|| {
            let shown: String = text.trim().chars().take(40).collect();
            ValueError::new(format!("'{shown}' is no moment in UTC, which is like 2010-04-09T15:51:00"))
        })
    }
}

impl Value for DateTime {
    const KIND: ValueKind = ValueKind::Syntax("datetime");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        text.parse()
    }

    fn write(&self, _: Style, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Owned(self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_those_of_unix() {
        let seconds = |text: &str| text.parse::<DateTime>().unwrap().seconds();
        assert_eq!(seconds("1970-01-01T00:00:00"), 0);
        assert_eq!(seconds("2010-04-09T15:51:01"), 1_270_828_261);
        assert_eq!(seconds("2000-03-01T00:00:00") - seconds("2000-02-28T00:00:00"), 2 * 86400);
        assert_eq!(seconds("1900-03-01T00:00:00") - seconds("1900-02-28T00:00:00"), 86400);
        assert_eq!(seconds("0000-03-01T00:00:00"), -62_162_035_200);
    }

    #[test]
    fn moments_exist() {
        assert_eq!("2010-4-9T1:5:0".parse::<DateTime>().unwrap().to_string(), "2010-04-09T01:05:00");
        assert!("2024-02-29T23:59:59".parse::<DateTime>().unwrap() < "2024-03-01T00:00:00".parse().unwrap());
        for bad in [
            "",
            "2010-04-09",
            "2010-04-09 15:51:00",
            "2010-04-09T15:51:00Z",
            "2010-02-29T00:00:00",
            "2010-13-01T00:00:00",
            "2010-04-09T24:00:00",
            "2010-04-09T23:59:60",
            "-1-04-09T00:00:00",
        ] {
            assert!(bad.parse::<DateTime>().is_err(), "{bad}");
        }
    }
}
