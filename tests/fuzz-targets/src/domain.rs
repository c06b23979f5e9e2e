//! Domain XML: whatever the bytes, an answer; and what was accepted once means the same for ever.

use polyvirt_core::model::{
    DomainConfig, FormatOptions, Guest, Limits, ParseOptions, Parsed, Problems, Unknown, complete, complete_and_check,
    decode, numatune::NumaMemory,
};

/// Lists of problems are bounded: 200, and the one that says so.
const MAX_PROBLEMS: usize = 201;

/// Every policy, every phase, every position.
pub(crate) fn parse(data: &[u8]) {
    let text = match decode(data, &Limits::default()) {
        Ok(text) => text,
        Err(problem) => return judged(&(*problem).into(), ""),
    };
    let [dropped, rejected, kept] = [Unknown::Drop, Unknown::Reject, Unknown::Keep]
        .map(|unknown| DomainConfig::parse(text, &ParseOptions::with_unknown(unknown)));
    for problems in [&dropped, &rejected, &kept].into_iter().filter_map(|parsed| parsed.as_ref().err()) {
        judged(problems, text);
    }
    assert_eq!(dropped.is_ok(), kept.is_ok(), "keeping and dropping accept the same documents");
    if let Ok(rejected) = rejected {
        assert!(rejected.warnings.is_empty() || dropped.as_ref().is_ok_and(|d| !d.warnings.is_empty()));
        assert!(kept.as_ref().is_ok_and(|kept| kept.kept.is_empty()), "nothing is kept where nothing is unknown");
    }
    if let Ok(kept) = kept {
        let printed = kept.config.to_xml();
        kept.kept.put_back(&printed).expect("what is printed is a document");
        every_position(&kept, text);
    }
    if let Ok(Parsed { config, positions, .. }) = dropped {
        for guest in [Guest::New, Guest::Existing] {
            let mut config = config.clone();
            match complete_and_check(&mut config, guest, &positions) {
                Ok(_) => drop(config.placement_request()),
                Err(problems) => judged(&problems, text),
            }
        }
    }
}

/// Refusals can be read: a reason in one line first, places that exist, no more than anyone reads.
fn judged(problems: &Problems, text: &str) {
    assert!(problems.len() <= MAX_PROBLEMS * 8, "{} problems", problems.len());
    assert!(problems.has_errors(), "refused without an error: {problems}");
    let lines = text.lines().count().max(1);
    for problem in problems {
        assert!(!problem.message.is_empty());
        if let Some(line) = problem.line.filter(|_| !text.is_empty()) {
            let line = usize::try_from(line).unwrap_or(usize::MAX);
            assert!((1..=lines + 1).contains(&line), "line {line} of {lines}: {problem}");
        }
        assert!(!problem.long().is_empty());
    }
}

/// Paths that the document shows can be found again. Each path costs a walk, so large documents are left out.
fn every_position(parsed: &Parsed<DomainConfig>, text: &str) {
    if text.len() > 4096 {
        return;
    }
    parsed.positions.visit(&mut |path| {
        assert!(parsed.positions.find(path).is_some(), "{path} was shown and is not found");
        true
    });
}

/// parse → format → parse.
pub(crate) fn fixed_point(data: &[u8]) {
    let Ok(text) = decode(data, &Limits::default()) else { return };
    if let Ok(parsed) = DomainConfig::parse(text, &ParseOptions::default()) {
        holds(&parsed);
    }
}

/// What was accepted prints, reads back to an equal value, prints the same; completion is idempotent and passes XML.
pub(crate) fn holds(parsed: &Parsed<DomainConfig>) {
    reads_back(&parsed.config);
    // Rule P5 is libvirt's and not idempotent, as the model says.
    let memory = parsed.config.numatune.as_ref().and_then(|tune| tune.memory.as_ref());
    if memory.is_some_and(|memory| *memory == NumaMemory::default()) {
        return;
    }
    let mut once = parsed.config.clone();
    if complete_and_check(&mut once, Guest::Existing, &parsed.positions).is_err() {
        return;
    }
    let mut twice = once.clone();
    if let Err(problems) = complete(&mut twice, Guest::Existing, &parsed.positions) {
        panic!("completed twice: {problems}");
    }
    same(&twice, &once, "completed twice", "");
    let mut again = reads_back(&once);
    if let Err(problems) = complete_and_check(&mut again.config, Guest::Existing, &again.positions) {
        panic!("completed and printed: {problems}");
    }
    same(&again.config, &once, "completed, printed and completed", "");
}

fn reads_back(config: &DomainConfig) -> Parsed<DomainConfig> {
    let secure = FormatOptions::new().secure();
    let printed = config.to_xml_with(secure);
    let again = match DomainConfig::parse(&printed, &ParseOptions::with_unknown(Unknown::Reject)) {
        Ok(again) => again,
        Err(problems) => panic!("printed and refused: {problems}\n{printed}"),
    };
    same(&again.config, config, "printed and read back", &printed);
    assert_eq!(again.config.to_xml_with(secure), printed, "printed twice");
    again
}

/// Two definitions are equal; if not, shows where they part, because a whole definition is pages long.
pub(crate) fn same(left: &DomainConfig, right: &DomainConfig, what: &str, shown: &str) {
    if left != right {
        let (left, right) = (format!("{left:?}"), format!("{right:?}"));
        let at = left.bytes().zip(right.bytes()).take_while(|(l, r)| l == r).count().saturating_sub(80);
        let part = |text: &str| {
            String::from_utf8_lossy(&text.as_bytes()[at.min(text.len())..]).chars().take(240).collect::<String>()
        };
        panic!("{what}, it differs:\n  now …{}…\n was …{}…\n{shown}", part(&left), part(&right));
    }
}
