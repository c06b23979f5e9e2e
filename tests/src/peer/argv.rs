//! Command lines read as QEMU reads them: options with what they say, whatever the spelling.
//!
//! JSON and `key=value` are the same thing, the order of keys says nothing, `true` is `on`, and a first value without a key has the key
//! that QEMU gives it. Numbers of file descriptors differ from run to run; environment variables are left out.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// Keys that QEMU implies for a first value without one (`implied_opt_name` of its options).
const IMPLIED: &[(&str, &str)] = &[
    ("-accel", "accel"),
    ("-audiodev", "driver"),
    ("-boot", "order"),
    ("-chardev", "backend"),
    ("-cpu", "model"),
    ("-device", "driver"),
    ("-display", "type"),
    ("-m", "size"),
    ("-machine", "type"),
    ("-mon", "chardev"),
    ("-netdev", "type"),
    ("-numa", "type"),
    ("-object", "qom-type"),
    ("-sandbox", "enable"),
    ("-smp", "cpus"),
    ("-tpmdev", "type"),
    ("-vnc", "vnc"),
    ("-watchdog-action", "action"),
];

/// Options whose argument is one text.
const PLAIN: &[&str] = &["-append", "-kernel", "-initrd", "-dtb", "-bios", "-k", "-uuid", "-shim", "-incoming"];

/// Options of which the order among themselves means something.
pub(super) const ORDERED: &[&str] = &["-numa", "-drive", "-smbios", "-fw_cfg", "-global"];

/// One option with all that it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opt {
    /// With its dash.
    pub name: String,
    /// What it says. A key that comes twice has both its values, with a `;` between them.
    pub says: BTreeMap<String, String>,
}

impl Opt {
    /// What it says under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.says.get(key).map(String::as_str)
    }

    /// Whether it is this option about a thing of this kind: `-device` of a driver, `-object` of a type.
    #[must_use]
    pub fn is(&self, name: &str, kind: &str) -> bool {
        let implied = IMPLIED.iter().find(|it| it.0 == name).map(|it| it.1);
        self.name == name && implied.is_some_and(|key| self.get(key) == Some(kind))
    }
}

impl fmt::Display for Opt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.name)?;
        for (at, (key, value)) in self.says.iter().enumerate() {
            write!(out, "{}{key}={value}", if at == 0 { ' ' } else { ',' })?;
        }
        Ok(())
    }
}

/// A program and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: String,
    /// Its options, as they came.
    pub options: Vec<Opt>,
}

/// Why a text is no command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl CommandLine {
    /// Reads what a shell would run.
    ///
    /// # Errors
    /// When quotes do not end, or there is no program.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let words = words(text)?.into_iter().skip_while(|word| !word.quoted && is_assignment(&word.text));
        let mut words = words.map(|it| it.text).peekable();
        let program = words.next().ok_or_else(|| Unreadable("there is no program".to_owned()))?;
        let mut options = Vec::new();
        while let Some(name) = words.next() {
            let value = words.next_if(|it| !it.starts_with('-') || name == "-append");
            let says = value.map(|it| read_value(&name, &it)).unwrap_or_default();
            options.push(Opt { name, says });
        }
        Ok(Self { program, options })
    }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|it| it.0);
    name.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// A word of a shell.
#[derive(Debug, Default)]
struct Word {
    text: String,
    /// Whether it begins with a quote, so that it is no assignment whatever is in it.
    quoted: bool,
}

/// A shell's words, as far as quoting goes (POSIX.1-2017, 2.2).
fn words(text: &str) -> Result<Vec<Word>, Unreadable> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut rest = text.chars();
    let endless = || Unreadable("a quote does not end".to_owned());
    while let Some(next) = rest.next() {
        match next {
            '\'' => {
                let word = word.get_or_insert_with(|| Word { quoted: true, ..Word::default() });
                loop {
                    match rest.next().ok_or_else(endless)? {
                        '\'' => break,
                        other => word.text.push(other),
                    }
                }
            }
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(other) => word.get_or_insert_default().text.push(other),
                None => return Err(endless()),
            },
            ' ' | '\t' | '\n' => words.extend(word.take()),
            other => word.get_or_insert_default().text.push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn read_value(option: &str, text: &str) -> BTreeMap<String, String> {
    let mut says = BTreeMap::new();
    let mut say = |key: String, value: String| {
        let value = settled(option, &key, value);
        // A key that comes again says something more: all that it said counts.
        match says.get_mut(&key) {
            None => drop(says.insert(key, value)),
            Some(known) => *known = format!("{known};{value}"),
        }
    };
    if PLAIN.contains(&option) {
        say(String::new(), text.to_owned());
    } else if let Some(json) = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten() {
        flatten("", &json, &mut say);
    } else {
        for (at, part) in parts(text).into_iter().enumerate() {
            match part.split_once('=') {
                Some((key, value)) => say(key.to_owned(), value.to_owned()),
                None => {
                    let implied = IMPLIED.iter().find(|it| it.0 == option && at == 0);
                    match (implied, part.split_at_checked(1)) {
                        (Some((_, key)), _) => say((*key).to_owned(), part),
                        // The old way to say `feature=on`.
                        (None, Some((sign @ ("+" | "-"), feature))) if option == "-cpu" => {
                            say(feature.to_owned(), if sign == "+" { "on" } else { "off" }.to_owned());
                        }
                        // A switch without a value is on (QEMU's `opts_parse`).
                        _ => say(part, "on".to_owned()),
                    }
                }
            }
        }
    }
    says
}

/// The parts between commas; two commas are one that does not end a part (QEMU's `opts_parse`).
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        if next == ',' && rest.next_if_eq(&',').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(next);
        }
    }
    parts
}

fn flatten(path: &str, value: &Value, say: &mut impl FnMut(String, String)) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, it)| flatten(&below(name), it, say)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, it)| flatten(&below(&at.to_string()), it, say)),
        Value::Bool(on) => say(path.to_owned(), if *on { "on" } else { "off" }.to_owned()),
        Value::String(text) => say(path.to_owned(), text.clone()),
        other => say(path.to_owned(), other.to_string()),
    }
}

/// The one spelling of a value that has several.
fn settled(option: &str, key: &str, value: String) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    match (option, last) {
        (_, "fd" | "fds" | "vhostfd" | "vhostfds" | "set") => "N".to_owned(),
        // Mebibytes where no unit is written (qemu(1), -m).
        ("-m", "size" | "maxmem") => bytes(&value, 1 << 20).map_or(value, |it| it.to_string()),
        _ => value,
    }
}

fn bytes(text: &str, unit: u64) -> Option<u64> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => unit,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Opt> {
        CommandLine::read(text).unwrap().options
    }

    #[test]
    fn spellings_of_one_thing_are_one() {
        for (one, other) in [
            (r#"q -device '{"driver":"e1000","id":"n","rom":{"bar":true}}'"#, "q -device e1000,rom.bar=on,id=n"),
            ("LC_ALL=C q -m 64", "q \\\n-m size=65536k"),
            ("q -cpu qemu64,+aes,-avx", "q -cpu qemu64,avx=off,aes=on"),
            ("q -add-fd set=0,fd=25", "q -add-fd set=1,fd=3"),
        ] {
            assert_eq!(read(one), read(other), "{one}");
        }
    }

    #[test]
    fn what_is_different_stays_different() {
        for (one, other) in [
            ("q -device e1000,id=a", "q -device e1000,id=b"),
            ("q -name 'guest=a,,b'", "q -name guest=a,b"),
            ("q -m 64", "q -m 65"),
            ("q -append 'a b'", "q -append ab"),
        ] {
            assert_ne!(read(one), read(other), "{one}");
        }
    }

    #[test]
    fn shells_quotes_are_read() {
        assert_eq!(CommandLine::read("A=1 'B=2' -S").unwrap().program, "B=2");
        let line = CommandLine::read("A=b /bin/q -name 'it'\\''s a' -S").unwrap();
        assert_eq!(line.program, "/bin/q");
        assert_eq!(line.options[0].get("it's a"), Some("on"));
        assert_eq!(line.options[1].name, "-S");
        assert!(CommandLine::read("q 'a").is_err() && CommandLine::read("A=1").is_err());
    }
}
