//! What one arbiter hands to the next at an upgrade, in a memfd named by a variable: the sockets,
//! to a second arbiter beside it; or everything, to a new build that takes its place under the same
//! pid.
//!
//! It is an envelope, whose protocol number every build can read, around a body of that protocol.
//! Within one protocol the body only grows: a new field has a default, a renamed one keeps its name
//! on the wire. The tests read a hand-over as the first build (cb54ddf) wrote it. Before the exec,
//! which cannot be undone, the new build reads the same memfd that it will get
//! (`--handover-check`).

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use rcorn_arbiter::Arbiter;
use rcorn_front_link::TicketKey;
use rcorn_scoreboard::{Times, Totals};
use rcorn_settings::{Address, Settings};
use rcorn_sys::descriptor::adopt;
use rcorn_sys::environment;
use rcorn_sys::memfd::{self, Content};

use super::captured_output::SavedOutput;
use super::front::SavedFronts;
use super::saved_children::SavedChildren;
use super::tally::Tally;
use super::telemetry::SharedNumbers;

/// The variable that names the memfd.
pub(super) const VARIABLE: &str = "RCORN_HANDOVER";
/// The protocol of the hand-over, of the scoreboard and of the link's messages. It changes if a
/// build cannot take over the workers of the previous one, although it can read every field. Then
/// an upgrade in place from one to the other is refused. A field that is added does not change it.
pub const PROTOCOL: u32 = 6;
/// The protocol of a hand-over whose workers print into pipes: a build that does not know of them
/// would not read them, and the workers would wait for it.
const WITH_OUTPUT: u32 = 7;

/// Why a hand-over cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The memfd cannot be read.
    #[error("the hand-over cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not even an envelope.
    #[error("the hand-over is not one of rcorn: {0}")]
    Foreign(serde_json::Error),
    /// Its protocol is another.
    #[error(
        "the hand-over is of protocol {found}; this build reads protocols {PROTOCOL} and {WITH_OUTPUT}"
    )]
    OtherProtocol {
        /// The protocol it is of.
        found: u32,
    },
    /// It has our protocol, but its body cannot be read, because of a fault in one of the builds.
    #[error("the hand-over is of our protocol, but cannot be understood: {0}")]
    Broken(serde_json::Error),
}

/// The part of every hand-over that every build of rcorn can read.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    protocol: u32,
}

/// What is handed over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    protocol: u32,
    /// The pid of the arbiter that wrote it.
    pub from: i32,
    pub(super) listeners: Vec<SavedListener>,
    /// The hand-off queue: the workers of one arbiter serve the connections that those of the other
    /// hand on.
    #[serde(rename = "lot")]
    pub(super) handoff_queue: (RawFd, RawFd),
    /// The keys of session tickets, if there are fronts: a client resumes its session with those of
    /// the successor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ticket_keys: Vec<TicketKey>,
    /// Everything else, when the new build takes the old one's place.
    #[serde(rename = "whole")]
    pub(super) in_place: Option<Box<InPlaceState>>,
}

/// One listening socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedListener {
    pub(super) fd: RawFd,
    pub(super) address: Option<Address>,
}

/// The state of an arbiter whose place another build takes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InPlaceState {
    pub(super) brain: Arbiter,
    #[serde(rename = "family")]
    pub(super) children: SavedChildren,
    pub(super) settings: Settings,
    pub(super) scoreboard: RawFd,
    /// The cells of threads, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) threads: Option<RawFd>,
    /// What is shared for syslog and statsd.
    #[serde(default, skip_serializing_if = "SharedNumbers::is_none")]
    pub(super) telemetry: SharedNumbers,
    /// What the app prints.
    #[serde(default, skip_serializing_if = "SavedOutput::is_none")]
    pub(super) output: SavedOutput,
    /// Those that speak TLS.
    #[serde(default, skip_serializing_if = "SavedFronts::is_none")]
    pub(super) fronts: SavedFronts,
    /// The counts of the workers that have ended.
    #[serde(default)]
    pub(super) totals: Totals,
    /// What they had measured.
    #[serde(default)]
    pub(super) times: Times,
    /// What the arbiter has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tally: Option<Tally>,
    pub(super) reports: (RawFd, RawFd),
    /// The service manager knows that we serve.
    #[serde(rename = "announced")]
    pub(super) is_announced: bool,
    /// The control socket, which is stale after the exec.
    #[serde(default)]
    pub(super) control_socket: Option<PathBuf>,
}

impl Handover {
    /// What this process hands over.
    pub(super) fn new(
        listeners: Vec<SavedListener>,
        handoff_queue: (RawFd, RawFd),
        in_place: Option<InPlaceState>,
    ) -> Self {
        let has_output = in_place.as_ref().is_some_and(|one| !one.output.is_none());
        Self {
            protocol: if has_output { WITH_OUTPUT } else { PROTOCOL },
            from: i32::try_from(std::process::id()).unwrap_or(0),
            listeners,
            handoff_queue,
            ticket_keys: Vec::new(),
            in_place: in_place.map(Box::new),
        }
    }

    /// The same, with these keys of session tickets.
    pub(super) fn with_ticket_keys(self, ticket_keys: Vec<TicketKey>) -> Self {
        Self {
            ticket_keys,
            ..self
        }
    }

    /// Takes the hand-over that a predecessor has left, named in the environment; `None` if there
    /// is none.
    ///
    /// # Errors
    ///
    /// There is a hand-over, but it cannot be read.
    pub fn receive(
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, HandoverError> {
        let Some(number) = environment(VARIABLE) else {
            return Ok(None);
        };
        environment::unset(VARIABLE)?;
        let fd: RawFd = number.parse().map_err(io::Error::other)?;
        Self::read(File::from(adopt(fd)?)).map(Some)
    }

    /// Reads a memfd from its beginning.
    pub(super) fn read(mut file: File) -> Result<Self, HandoverError> {
        file.rewind()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Self::decode(&text)
    }

    fn decode(text: &[u8]) -> Result<Self, HandoverError> {
        let envelope: Envelope = serde_json::from_slice(text).map_err(HandoverError::Foreign)?;
        if ![PROTOCOL, WITH_OUTPUT].contains(&envelope.protocol) {
            return Err(HandoverError::OtherProtocol {
                found: envelope.protocol,
            });
        }
        serde_json::from_slice(text).map_err(HandoverError::Broken)
    }

    /// The bytes of the memfd.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(io::Error::other)
    }

    /// The settings that the predecessor ran with, if this build takes its place.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.in_place.as_ref().map(|state| &state.settings)
    }

    /// The arbiter that started us beside itself.
    pub(super) fn predecessor(&self) -> Option<i32> {
        self.in_place.is_none().then_some(self.from)
    }

    /// The descriptors named in it, all of which the successor must inherit.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let listeners = self.listeners.iter().map(|listener| listener.fd);
        let mut all: Vec<RawFd> = listeners.collect();
        all.extend([self.handoff_queue.0, self.handoff_queue.1]);
        if let Some(state) = &self.in_place {
            all.extend([state.scoreboard, state.reports.0, state.reports.1]);
            all.extend(state.threads);
            all.extend(state.telemetry.all());
            all.extend(state.output.descriptors());
            all.extend(state.fronts.descriptors());
            all.extend(state.children.descriptors());
        }
        all
    }
}

/// A sealed memfd with these bytes, to be read from its beginning.
///
/// # Errors
///
/// Those of [`memfd::sealed`].
pub(super) fn memfd(bytes: &[u8]) -> io::Result<OwnedFd> {
    memfd::sealed(c"rcorn-handover", bytes, Content::Data)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// As the first build (cb54ddf) wrote it; with a fork that was not answered and an exit that
    /// nobody claimed.
    const SAMPLE: &str = include_str!("samples/handover-6.json");

    /// Everything of `old` is in `new`, under the same names and with the same values.
    fn assert_kept(old: &Value, new: &Value, path: &str) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                for (name, value) in old {
                    let path = format!("{path}.{name}");
                    let kept = new.get(name);
                    assert_kept(
                        value,
                        kept.unwrap_or_else(|| panic!("{path} is gone")),
                        &path,
                    );
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                assert_eq!(old.len(), new.len(), "{path}");
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    assert_kept(old, new, &format!("{path}[{index}]"));
                }
            }
            _ => assert_eq!(old, new, "{path}"),
        }
    }

    #[test]
    fn the_first_hand_over_of_protocol_6_is_understood() {
        let handover = Handover::decode(SAMPLE.as_bytes()).unwrap();
        assert_eq!(handover.predecessor(), None);
        assert_eq!(handover.listeners.len(), 2);
        // Two listeners, the queue, the scoreboard, the reports; a template with two, a worker with
        // one each.
        assert_eq!(handover.descriptors().len(), 2 + 2 + 1 + 2 + 2 + 2);
        let state = handover.in_place.unwrap();
        assert_eq!(state.brain.workers().iter().count(), 2);
        assert_eq!(state.settings.bind.len(), 2);
        assert!(state.is_announced);
    }

    /// This fails when a name or a form on the wire has changed: give it its old name with
    /// `#[serde(rename)]`. If builds cannot take over each other's workers any more, raise
    /// [`PROTOCOL`] and make a new sample.
    #[test]
    fn what_protocol_6_has_is_written_as_it_was() {
        let handover = Handover::decode(SAMPLE.as_bytes()).unwrap();
        let sample: Value = serde_json::from_str(SAMPLE).unwrap();
        let written: Value = serde_json::from_slice(&handover.encode().unwrap()).unwrap();
        assert_kept(&sample, &written, "hand-over");
    }

    /// What a build with one setting more, or with one less, writes.
    #[test]
    fn a_setting_more_or_less_does_not_matter() {
        let mut sample: Value = serde_json::from_str(SAMPLE).unwrap();
        let settings = sample["whole"]["settings"].as_object_mut().unwrap();
        settings.insert("of_the_future".to_owned(), Value::from(1));
        settings.remove("backlog").unwrap();
        sample["of_the_future"] = Value::from("x");
        sample["whole"]["of_the_future"] = Value::from("x");
        let handover = Handover::decode(sample.to_string().as_bytes()).unwrap();
        let settings = handover.settings().unwrap();
        assert_eq!(settings.backlog, Settings::default().backlog);
    }

    #[test]
    fn another_protocol_is_told_by_its_number_whatever_its_body_is() {
        let error = Handover::decode(br#"{"protocol":8,"body":[1,2]}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the hand-over is of protocol 8; this build reads protocols 6 and 7"
        );
        let error = Handover::decode(br#"{"protocol":6,"from":"x"}"#).unwrap_err();
        assert!(matches!(error, HandoverError::Broken(_)));
        let error = Handover::decode(b"GET / HTTP/1.1").unwrap_err();
        assert!(matches!(error, HandoverError::Foreign(_)));
    }

    /// A build that does not know of pipes that workers print into must not take over: nobody would
    /// read them.
    #[test]
    fn a_hand_over_with_output_has_a_protocol_of_its_own() {
        let mut sample: Value = serde_json::from_str(SAMPLE).unwrap();
        sample["whole"]["output"] = serde_json::json!({
            "socket": [20, 21],
            "begun": 22,
            "pipes": [{"fd": 23, "pid": 7, "generation": 1, "stream": "Error"}],
        });
        let handover = Handover::decode(sample.to_string().as_bytes()).unwrap();
        let written = Handover::new(
            handover.listeners,
            (0, 1),
            handover.in_place.map(|one| *one),
        );
        assert_eq!(written.protocol, WITH_OUTPUT);
        let descriptors = written.descriptors();
        assert!(
            (20..24).all(|fd| descriptors.contains(&fd)),
            "{descriptors:?}"
        );
        let again = Handover::decode(&written.encode().unwrap()).unwrap();
        let output = again.in_place.unwrap().output;
        assert_eq!(output.descriptors().collect::<Vec<_>>(), [20, 21, 22, 23]);
        let without = Handover::decode(SAMPLE.as_bytes()).unwrap();
        let written = Handover::new(Vec::new(), (0, 1), without.in_place.map(|one| *one));
        assert_eq!(written.protocol, PROTOCOL);
    }

    #[test]
    fn a_memfd_is_read_from_its_beginning() {
        let memory = File::from(memfd(SAMPLE.as_bytes()).unwrap());
        assert!(Handover::read(memory).is_ok());
    }
}
