//! `<clock>`: what time a guest sees.

use std::borrow::Cow;

use polyvirt_xml::{Element, Scalar, Style, Value, ValueContext, ValueError, ValueKind, words};

words! {
    /// What the guest's clock follows.
    pub enum ClockOffset {
        Utc = "utc", Localtime = "localtime", Variable = "variable", Timezone = "timezone", Absolute = "absolute",
    }
}
words! {
    /// What a variable clock is relative to.
    pub enum ClockBasis { Utc = "utc", Localtime = "localtime" }
}

/// How far a clock is beside its basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockAdjustment {
    /// The guest's own changes are lost at every boot.
    Reset,
    /// So many seconds.
    Seconds(i64),
}

impl Value for ClockAdjustment {
    const KIND: ValueKind = ValueKind::Syntax("adjustment");

    fn parse(text: &str, context: &ValueContext<'_>) -> Result<Self, ValueError> {
        if text.trim() == "reset" {
            return Ok(Self::Reset);
        }
        i64::parse(text, context).map(Self::Seconds).map_err(|_| {
            let shown: String = text.trim().chars().take(40).collect();
            ValueError::new(format!("'{shown}' is neither a number of seconds nor 'reset'"))
        })
    }

    fn write(&self, style: Style, out: &mut String) {
        match self {
            Self::Reset => out.push_str("reset"),
            Self::Seconds(seconds) => seconds.write(style, out),
        }
    }

    fn scalar(&self) -> Scalar<'_> {
        let mut out = String::new();
        self.write(Style::Plain, &mut out);
        Scalar::Text(Cow::Owned(out))
    }
}

/// `<clock>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Clock {
    /// What it follows; absent: UTC.
    #[xml(attr)]
    pub offset: Option<ClockOffset>,
    /// Seconds beside the basis, or `reset`: back to it at every boot. Since 0.9.11.
    #[xml(attr)]
    pub adjustment: Option<ClockAdjustment>,
    /// What a variable clock is relative to; absent: UTC. Since 0.9.11.
    #[xml(attr)]
    pub basis: Option<ClockBasis>,
    /// The time zone. Since 0.7.7.
    #[xml(attr)]
    pub timezone: Option<String>,
    /// Seconds since 1970, for `absolute`. Since 8.4.0.
    #[xml(attr)]
    pub start: Option<u64>,
    /// Clock sources. Since 0.8.0.
    #[xml(child)]
    pub timer: Vec<Timer>,
}

words! {
    /// Clock sources.
    pub enum TimerName {
        Platform = "platform", Pit = "pit", Rtc = "rtc", Hpet = "hpet", Tsc = "tsc", Kvmclock = "kvmclock",
        Hypervclock = "hypervclock", Armvtimer = "armvtimer",
    }
}
words! {
    /// What happens to ticks that were missed.
    pub enum TickPolicy { Delay = "delay", Catchup = "catchup", Merge = "merge", Discard = "discard" }
}
words! {
    /// What a timer follows.
    pub enum TimerTrack { Boot = "boot", Guest = "guest", Wall = "wall", Realtime = "realtime" }
}
words! {
    /// How the TSC is provided.
    pub enum TimerMode {
        Auto = "auto", Native = "native", Emulate = "emulate", Paravirt = "paravirt", Smpsafe = "smpsafe",
    }
}

/// `<timer>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Timer {
    /// Which one.
    #[xml(attr)]
    pub name: Option<TimerName>,
    /// Whether the guest has it.
    #[xml(attr, yesno)]
    pub present: Option<bool>,
    /// What happens to ticks that were missed.
    #[xml(attr)]
    pub tickpolicy: Option<TickPolicy>,
    /// What it follows.
    #[xml(attr)]
    pub track: Option<TimerTrack>,
    /// Its frequency in Hz.
    #[xml(attr)]
    pub frequency: Option<u64>,
    /// How it is provided.
    #[xml(attr)]
    pub mode: Option<TimerMode>,
    /// How it catches up.
    #[xml(child)]
    pub catchup: Option<Catchup>,
}

/// `<catchup>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Catchup {
    /// Below this nothing is done.
    #[xml(attr)]
    pub threshold: Option<u64>,
    /// How fast it catches up.
    #[xml(attr)]
    pub slew: Option<u64>,
    /// Above this nothing is done.
    #[xml(attr)]
    pub limit: Option<u64>,
}
