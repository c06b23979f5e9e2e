//! Numbers of guests as OpenMetrics text, for Prometheus and what reads its format.
//!
//! The format is that of the OpenMetrics specification 1.0; names and units follow its conventions and those of Prometheus: base units
//! (seconds, bytes), counters that end in `_total`, one family a thing that is measured, labels for what it is measured of. A guest that
//! did not answer keeps its `polyvirt_domain_info` and `polyvirt_domain_state`, and a `polyvirt_domain_missing` for every group that
//! it lacks. What a guest, a file or a user named is escaped wherever it stands.

mod families;

use std::fmt::Write as _;

use polyvirt_core::StatsRecord;
use polyvirt_engine::{GuestEntry, GuestStatistics};

use self::families::{FAMILIES, Family, Kind};

/// The media type under which the text is served.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One point of a family: labels besides the guest's, and the value.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

/// A value, as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Whole(u64),
    Real(f64),
}

/// The numbers of these guests as one exposition, `# EOF` included. Families without a point are left out.
#[must_use]
pub fn open_metrics(guests: &[GuestStatistics]) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        let mut begun = false;
        for it in guests {
            for sample in (family.samples)(&it.guest, &it.numbers) {
                if !begun {
                    head(&mut text, family);
                    begun = true;
                }
                point(&mut text, family, &it.guest, &sample);
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn head(text: &mut String, Family { name, kind, unit, help, .. }: &Family) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Info => "info",
        Kind::States => "stateset",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if !unit.is_empty() {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {}", escaped(help));
}

fn point(text: &mut String, family: &Family, guest: &GuestEntry, Sample { labels, value }: &Sample) {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::States => "",
    };
    let _ = write!(text, "{}{suffix}{{domain=\"{}\"", family.name, escaped(&guest.name));
    for (name, value) in labels {
        let _ = write!(text, ",{name}=\"{}\"", escaped(value));
    }
    let _ = match value {
        Value::Whole(number) => writeln!(text, "}} {number}"),
        Value::Real(number) => writeln!(text, "}} {number}"),
    };
}

/// Backslashes, line feeds and quotes cannot stand in a label or a help text as they are (specification, "ABNF").
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// The points of a family, of one guest.
type Samples = fn(&GuestEntry, &StatsRecord) -> Vec<Sample>;
