//! What a QEMU answered on its monitor, whether it was asked just now or somebody wrote it down.
//!
//! A written dialogue is a sequence of JSON documents, commands and replies in turn, as a monitor's log has them. A
//! `qmp_capabilities` begins another session: the first one under the best accelerator of that host, the second under TCG.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::expansion;

/// Longest dialogue that is read, in bytes. Those of QEMU 10 take 0.9 MiB.
const LIMIT: usize = 32 << 20;

/// Why a written dialogue is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RecordingError {
    #[error("recorded QMP replies of {0} bytes are too long; at most {LIMIT} are read")]
    TooLong(usize),
    #[error("recorded QMP replies: line {line}: {problem}")]
    Syntax { line: usize, problem: String },
    #[error("recorded QMP replies: '{command}' on line {line} has no reply; the recording is cut short")]
    CutShort { line: usize, command: String },
    #[error("recorded QMP replies: no reply to '{command}'; record a whole probing session")]
    Missing { command: String },
    #[error("recorded QMP replies: the reply to '{command}' is not QEMU's: {problem}")]
    Unexpected { command: String, problem: String },
}

/// Questions and answers of one session. What QEMU refused is not in it.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    answers: Vec<(String, Value, Value)>,
    /// Orders of expansions' properties, by what was asked.
    orders: Vec<(Value, Vec<String>)>,
}

impl Answers {
    /// Keeps an answer.
    pub(crate) fn add(&mut self, command: &str, arguments: Value, answer: Value) {
        self.answers.push((command.to_owned(), arguments, answer));
    }

    /// The answer to a command; `Value::Null` for no arguments.
    pub(crate) fn get(&self, command: &str, arguments: &Value) -> Option<&Value> {
        self.answers.iter().find(|(name, given, _)| name == command && given == arguments).map(|(.., answer)| answer)
    }

    /// The order in which an expansion's properties were written; empty if it was not written.
    pub(crate) fn order(&self, asked: &Value) -> &[String] {
        self.orders.iter().find(|(given, _)| given == asked).map_or(&[], |(_, order)| order)
    }

    /// All answers to a command, with their arguments.
    pub(crate) fn all<'a>(&'a self, command: &'a str) -> impl Iterator<Item = (&'a Value, &'a Value)> {
        self.answers.iter().filter(move |(name, ..)| name == command).map(|(_, given, answer)| (given, answer))
    }

    /// The answer to a command without arguments, read.
    ///
    /// # Errors
    /// `Missing`, `Unexpected`.
    pub(crate) fn read<T: DeserializeOwned>(&self, command: &str) -> Result<T, RecordingError> {
        let answer =
            self.get(command, &Value::Null).ok_or_else(|| RecordingError::Missing { command: command.to_owned() })?;
        T::deserialize(answer)
            .map_err(|error| RecordingError::Unexpected { command: command.to_owned(), problem: error.to_string() })
    }

    /// The sessions of a written dialogue.
    ///
    /// # Errors
    /// `TooLong`, `Syntax` with the line, `CutShort`; `Missing` if there is no session in it.
    pub(crate) fn sessions(text: &str) -> Result<Vec<Self>, RecordingError> {
        if text.len() > LIMIT {
            return Err(RecordingError::TooLong(text.len()));
        }
        let line_at =
            |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|it| **it == b'\n').count() + 1;
        let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>();
        let mut sessions: Vec<Self> = Vec::new();
        loop {
            let line = line_at(documents.byte_offset() + leading(&text[documents.byte_offset()..]));
            let syntax = |problem: String| RecordingError::Syntax { line, problem };
            let Some(asked) = documents.next() else { break };
            let mut asked = asked.map_err(|error| syntax(error.to_string()))?;
            let Some(Value::String(command)) = asked.remove("execute") else {
                return Err(syntax("expected a command, an object with the member 'execute'".to_owned()));
            };
            let cut_short = || RecordingError::CutShort { line, command: command.clone() };
            let from = documents.byte_offset();
            let mut reply = documents.next().ok_or_else(cut_short)?.map_err(|error| syntax(error.to_string()))?;
            let written = &text[from..documents.byte_offset()];
            if command == "qmp_capabilities" {
                sessions.push(Self::default());
            }
            match (reply.remove("return"), sessions.last_mut()) {
                (Some(answer), Some(session)) => {
                    let asked = asked.remove("arguments").unwrap_or_default();
                    if command == expansion::COMMAND {
                        session.orders.push((asked.clone(), expansion::order(written)));
                    }
                    session.add(&command, asked, answer);
                }
                (Some(_), None) => return Err(syntax("a session begins with 'qmp_capabilities'".to_owned())),
                (None, _) if reply.contains_key("error") => {}
                (None, _) => return Err(cut_short()),
            }
        }
        if sessions.is_empty() {
            return Err(RecordingError::Missing { command: "qmp_capabilities".to_owned() });
        }
        Ok(sessions)
    }
}

/// Bytes of white space at the beginning.
fn leading(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALOGUE: &str = r#"{"execute": "qmp_capabilities", "id": "1"}

{"return": {}, "id": "1"}

{"execute": "query-kvm"}

{"return": {"enabled": true}}

{"execute": "device-list-properties", "arguments": {"typename": "ide-hd"}}

{"error": {"class": "GenericError", "desc": "no such device"}}

{"execute": "qmp_capabilities"}
{"return": {}}
{"execute": "query-kvm"}
{"return": {"enabled": false}}
"#;

    #[test]
    fn sessions_are_told_apart_and_refusals_are_no_answers() {
        let sessions = Answers::sessions(DIALOGUE).unwrap();
        let enabled: Vec<_> =
            sessions.iter().map(|it| it.get("query-kvm", &Value::Null).unwrap()["enabled"].clone()).collect();
        assert_eq!(enabled, [true, false]);
        assert_eq!(sessions[0].all("device-list-properties").count(), 0);
        let missing = sessions[0].read::<Value>("query-machines").unwrap_err().to_string();
        assert!(missing.contains("no reply to 'query-machines'"), "{missing}");
    }

    #[test]
    fn what_is_no_dialogue_is_named_with_its_line() {
        let problem = |text: &str| Answers::sessions(text).unwrap_err().to_string();
        let cut = DIALOGUE.find("{\"return\": {\"enabled\": true}").unwrap();
        assert!(problem(&DIALOGUE[..cut]).contains("'query-kvm' on line 5 has no reply"));
        assert!(problem(&DIALOGUE[..cut + 9]).contains("line 5: "), "{}", problem(&DIALOGUE[..cut + 9]));
        assert!(problem("").contains("no reply to 'qmp_capabilities'"));
        assert!(problem("\n[1]").contains("line 2: "));
        assert!(
            problem(r#"{"execute":"query-kvm"}{"return":{}}"#).contains("a session begins with 'qmp_capabilities'")
        );
        assert!(problem(r#"{"execute":"qmp_capabilities"}{"event":"STOP"}"#).contains("has no reply"));
    }
}
