//! Domain XML beside libvirt, and beside a bare tokenizer, on the corpus' QEMU guests; one thread each, in interleaved rounds.
//!
//! - ours: parse, complete, check, format.
//! - libvirt: `defineXML` and `XMLDesc` on `test:///default` through python3-libvirt, in one process with one connection. What
//!   undefines the guest again is not counted.
//! - tokenizer: quick-xml's `Reader` over the same bytes, every event and every attribute; beside it our parse and our format.
//!
//! The guests get the type `test` and names and UUIDs of their own, and only those that both accept are measured.

mod guests;

use std::{hint::black_box, time::Instant};

use polyvirt::model::{DomainConfig, Guest, ParseOptions, complete_and_check};
use polyvirt_tests::rival::{Rival, median};
use quick_xml::{Reader, events::Event};

/// The clock runs during `defineXML` and `XMLDesc` alone.
const DEFINE: &str = r#"
def one(text):
    begin = time.perf_counter_ns()
    domain = connection.defineXML(text)
    domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    took = time.perf_counter_ns() - begin
    domain.undefine()
    return took
"#;

/// Odd, so that there is a middle.
const ROUNDS: usize = 15;

fn main() {
    let accepted = |text: &String| ours(text).is_some();
    let guests: Vec<String> = match guests::all() {
        Ok(guests) => guests.into_iter().filter(accepted).collect(),
        Err(why) => return println!("skipped: {why}"),
    };
    let mut rival = match Rival::start("test:///default", DEFINE) {
        Ok(rival) => Some(rival),
        Err(why) => {
            println!("without libvirt: {why}");
            None
        }
    };
    let guests = match &mut rival {
        Some(rival) => rival.accepted(guests).expect("libvirt's answer"),
        None => guests,
    };
    let bytes: usize = guests.iter().map(String::len).sum();
    println!(
        "{} guests, {} bytes each, {ROUNDS} interleaved rounds, medians",
        guests.len(),
        bytes / guests.len().max(1)
    );
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(&guests, rival.as_mut())).collect();
    report(&rounds, guests.len());
}

/// Microseconds for all guests.
struct Round {
    ours: f64,
    libvirt: Option<f64>,
    parse: f64,
    /// Parse and format.
    both: f64,
    tokens: f64,
}

fn round(guests: &[String], rival: Option<&mut Rival>) -> Round {
    let (ours, _) = timed(|| guests.iter().filter_map(|text| ours(text)).map(|xml| xml.len()).sum::<usize>());
    let libvirt = rival.map(|rival| rival.round().expect("libvirt's answer"));
    let (tokens, _) = timed(|| guests.iter().map(|text| tokens(text)).sum::<usize>());
    let options = ParseOptions::default();
    let parsed = || guests.iter().filter_map(|text| DomainConfig::parse(text, &options).ok());
    let (parse, _) = timed(|| parsed().map(|parsed| black_box(parsed).warnings.len()).sum::<usize>());
    let (both, _) = timed(|| parsed().map(|parsed| parsed.config.to_xml().len()).sum::<usize>());
    Round { ours, libvirt, parse, both, tokens }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = Instant::now();
    let result = black_box(work());
    (begin.elapsed().as_secs_f64() * 1e6, result)
}

/// What defining the guest would store.
fn ours(text: &str) -> Option<String> {
    let mut parsed = DomainConfig::parse(text, &ParseOptions::default()).ok()?;
    complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions).ok()?;
    Some(parsed.config.to_xml())
}

/// Every event and every attribute; the sum keeps the work from being left out.
fn tokens(text: &str) -> usize {
    let mut reader = Reader::from_str(text);
    let mut seen = 0;
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(tag) | Event::Empty(tag) => {
                let attributes = tag.attributes().map(|a| a.expect("well-formed"));
                seen +=
                    tag.name().as_ref().len() + attributes.map(|a| a.key.as_ref().len() + a.value.len()).sum::<usize>();
            }
            Event::Text(text) => seen += text.len(),
            Event::Eof => return seen,
            _ => seen += 1,
        }
    }
}

fn report(rounds: &[Round], guests: usize) {
    let guests = f64::from(u32::try_from(guests.max(1)).expect("thousands"));
    let each = |of: fn(&Round) -> f64| median(rounds.iter().map(of)) / guests;
    let (ours, parse, both, tokens) = (each(|r| r.ours), each(|r| r.parse), each(|r| r.both), each(|r| r.tokens));
    if rounds.iter().all(|round| round.libvirt.is_some()) {
        let libvirt = each(|r| r.libvirt.unwrap_or_default());
        println!("  parse, complete, check, format  {ours:7.1} µs   {:8.0} a second", 1e6 / ours);
        println!("  libvirt, defineXML and XMLDesc  {libvirt:7.1} µs   {:8.0} a second", 1e6 / libvirt);
        println!("  rate                            {:7.1} ×   libvirt's (target 10)", libvirt / ours);
    } else {
        println!("  parse, complete, check, format  {ours:7.1} µs");
    }
    println!("  parse {parse:.1} µs, parse and format {both:.1} µs, bare tokenizer {tokens:.1} µs");
    println!(
        "  parse and format                {:7.2} ×   the tokenizer's time (target 4), parse alone {:.2}",
        both / tokens,
        parse / tokens
    );
}
