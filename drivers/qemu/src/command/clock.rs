//! The guest's clock: `-rtc`, and the timer of KVM.

use polyvirt_core::model::clock::{Clock, ClockAdjustment, ClockBasis, ClockOffset, TickPolicy, TimerName, TimerTrack};

use super::{Args, Input, option::Opts};

pub(super) fn clock(args: &mut Args, input: &Input<'_>) {
    let clock = input.config.clock.as_ref();
    let timer = |name| clock?.timer.iter().find(|it| it.name == Some(name));
    let rtc = timer(TimerName::Rtc);
    let slew = rtc.and_then(|it| it.tickpolicy) == Some(TickPolicy::Catchup);
    let track = rtc.and_then(|it| it.track).and_then(|it| match it {
        TimerTrack::Guest => Some("vm"),
        TimerTrack::Wall => Some("host"),
        TimerTrack::Realtime => Some("rt"),
        _ => None,
    });
    let base = base(clock, input);
    let opts = Opts::pair("base", base).maybe("clock", track).maybe("driftfix", slew.then_some("slew"));
    args.add("-rtc", opts.build());
    let lost = timer(TimerName::Pit).map(|it| it.tickpolicy.unwrap_or(TickPolicy::Delay));
    let lost = lost.filter(|it| matches!(it, TickPolicy::Delay | TickPolicy::Discard));
    if let Some(policy) = lost.filter(|_| input.binary.has_property("kvm-pit", "lost_tick_policy")) {
        args.add("-global", format!("kvm-pit.lost_tick_policy={policy}"));
    }
}

fn base(clock: Option<&Clock>, input: &Input<'_>) -> String {
    let Some(clock) = clock else { return "utc".into() };
    match clock.offset {
        Some(ClockOffset::Localtime | ClockOffset::Timezone) => "localtime".into(),
        Some(ClockOffset::Absolute) => clock.start.map_or("utc".into(), date),
        Some(ClockOffset::Variable) => {
            let ahead = match clock.adjustment {
                Some(ClockAdjustment::Seconds(seconds)) => seconds,
                _ => 0,
            };
            // Local time is UTC where nobody says what local is.
            let local = clock.basis == Some(ClockBasis::Localtime) && ahead == 0;
            if local { "localtime".into() } else { date(input.now.saturating_add_signed(ahead)) }
        }
        _ => "utc".into(),
    }
}

/// Seconds since 1970 as `-rtc base=` takes them: `2006-06-17T16:01:21`.
pub(crate) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The calendar repeats every 400 years; years that begin on 1 March have their leap day last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_clock() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_150_560_081, "2006-06-17T16:01:21"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
