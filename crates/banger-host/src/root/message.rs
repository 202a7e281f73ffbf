//! The messages between a user's daemon and root: one JSON object each.
//!
//! ```text
//! client                                        root
//! {"hello":{"protocol":3}}                  ──►
//!                                           ◄── {"hello":{"protocol":3,"version":…,"claim":{…},"instance":"ab12"}}
//! {"change":{"remove-tap":{"machine":…}}}   ──►
//!                                           ◄── {"changed":"made"}
//! {"look":{"snapshot":{"name":"banger-1…"}}}──►
//!                                           ◄── {"error":[{"kind":"denied","message":…,"hints":[…]}]}
//! ```
//!
//! The set of messages is closed: none contains a path or a program, and an unknown message is
//! rejected at once.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{Change, Claim, Error, Finding, JailIdentity, Kind, Process, RootOp, Signal, Snapshot};

/// The version of these messages.
pub(crate) const PROTOCOL: u32 = 3;

/// The maximum length of a message, in bytes.
pub(crate) const LONGEST: usize = 64 << 10;

/// The maximum number of descriptors of a message.
pub(crate) const MOST_DESCRIPTORS: usize = 3;

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Request {
    /// The first message of every connection.
    Hello {
        /// The client's version of the messages.
        protocol: u32,
    },
    /// Make a change. A snapshot's files come as open descriptors: the base for reading, and the
    /// store for reading and writing. The snapshot belongs to the user who is served.
    Change(RootOp),
    /// Start Firecracker in a jail, with three descriptors: the machine's folder (O_PATH), and for
    /// appending the files of its output and its errors.
    StartJailed(JailIdentity),
    /// Signal a process that runs in a jail.
    SignalJailed { process: Process, signal: Signal },
    /// Ask a question.
    Look(RootLook),
}

/// A message of root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// The user whom root serves, with their claim.
    Hello(Hello),
    /// The change was made now, or before.
    Changed(Change),
    /// The process that was started.
    Started(Process),
    /// Whether the state holds.
    Holds(bool),
    /// The finding of a probe.
    Found(Finding),
    /// The state of a snapshot, if it exists.
    Snapshot(Option<Snapshot>),
    /// The error of a request: its layers, outermost first, at least one.
    Error(Vec<ErrorLayer>),
}

/// Root's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    /// The version of root's messages.
    pub(crate) protocol: u32,
    /// The version of the program.
    pub(crate) version: String,
    /// The claim that root checks against.
    pub(crate) claim: Claim,
    /// The instance of the claim, as four hexadecimal digits.
    pub(crate) instance: String,
}

/// The questions that only root can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(crate) enum RootLook {
    /// Whether the table has all of these.
    FirewallHolds {
        table: String,
        guests: Vec<(String, Ipv4Addr)>,
        nat: Vec<Ipv4Addr>,
    },
    /// Whether a TAP and an nft table can be made.
    Network,
    /// Whether another firewall drops what guests send.
    ForwardedPackets { tap_prefix: String },
    /// Whether the host's interfaces forward for the user's guests.
    ForwardingHolds,
    /// Whether snapshots can be made.
    Snapshots,
    /// Whether a machine in the folder that the message carries (O_PATH) can be jailed.
    Jails,
    /// The state of a snapshot.
    Snapshot { name: String },
}

/// One layer of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorLayer {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

/// The layers of an error, outermost first.
pub(crate) fn layers_of(error: &Error) -> Vec<ErrorLayer> {
    let mut layers = vec![ErrorLayer {
        kind: error.kind(),
        message: error.to_string(),
        hints: error.own_hints().to_vec(),
    }];
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        let own = cause.downcast_ref::<Error>();
        layers.push(ErrorLayer {
            kind: own.map_or(error.kind(), Error::kind),
            message: cause.to_string(),
            hints: own.map(|it| it.own_hints().to_vec()).unwrap_or_default(),
        });
        below = cause.source();
    }
    layers
}

/// The error with these layers.
pub(crate) fn error_of(layers: Vec<ErrorLayer>) -> Error {
    let mut layers = layers.into_iter().rev();
    let one = |layer: ErrorLayer, error: Error| layer.hints.into_iter().fold(error, Error::hint);
    let Some(mut innermost) = layers.next() else {
        return Error::new(Kind::Other, "root refuses without a reason");
    };
    let message = std::mem::take(&mut innermost.message);
    let first = Error::new(innermost.kind, message);
    layers.fold(one(innermost, first), |error, mut layer| {
        let message = std::mem::take(&mut layer.message);
        one(layer, error.within(message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_on_this_side_what_it_was_on_that() {
        let cause = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = Error::io("open `/dev/net/tun`", cause)
            .hint("look")
            .within("make the TAP `bg1`")
            .hint("try");
        let received = error_of(layers_of(&error));
        assert_eq!(received.kind(), Kind::Denied);
        assert_eq!(received.hints(), ["try", "look"]);
        let mut words = vec![received.to_string()];
        let mut below = std::error::Error::source(&received);
        while let Some(it) = below {
            words.push(it.to_string());
            below = it.source();
        }
        let expected = [
            "make the TAP `bg1`",
            "open `/dev/net/tun`",
            "permission denied",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_is_not_in_the_list_is_not_understood() {
        let parse = |text: &str| serde_json::from_str::<Request>(text);
        parse(r#"{"change":{"remove-tap":{"machine":"00c0ffee"}}}"#).unwrap();
        parse(r#"{"change":{"make-snapshot":{"machine":"00c0ffee","size-mib":16}}}"#).unwrap();
        for text in [
            r#"{"change":{"remove-file":{"path":"/etc/passwd"}}}"#,
            r#"{"change":{"remove-tap":{"machine":"00c0ffee","force":true}}}"#,
            r#"{"change":{"remove-tap":{}}}"#,
            r#"{"change":{"remove-tap":{"name":"bg1ab1200c0ffee"}}}"#,
            r#"{"change":{"remove-tap":{"machine":"../00c0f"}}}"#,
            r#"{"change":{"remove-tap":{"machine":12648430}}}"#,
            r#"{"change":{"make-snapshot":{"machine":"00c0ffee","size-mib":16,"files":{"base":"/etc/shadow"}}}}"#,
            r#"{"change":{"set-forwarding":{"interface":"lo","on":true}}}"#,
            r#"{"change":{"hold-forwarding":{"machine":"00c0ffee","interface":"lo"}}}"#,
            r#"{"change":{"adopt-forwarding":{"off-before":["lo"]}}}"#,
            r#"{"change":{"make-tap":{"machine":"00c0ffee","uid":-1,"host-address":"10.0.0.1","guest-address":"10.0.0.2","mac":"02:ba:00:c0:ff:ee","mtu":1500}}}"#,
            r#"{"change":{"make-tap":{"machine":"00c0ffee","uid":1,"host-address":"10.0.0.1","guest-address":"10.0.0.2","mac":"ff:ff:ff:ff:ff:ff","mtu":1500}}}"#,
            r#"{"change":{"allow-nat":{"address":"10.0.0.2; flush ruleset"}}}"#,
            r#"{"hello":{"protocol":3},"change":{"remove-tap":{"machine":"00c0ffee"}}}"#,
            r#"{"run":"sh"}"#,
            "[]",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_longest_looks_of_one_call_fit_into_a_message() {
        let guests =
            vec![("bg1ab1200c0ffee".to_owned(), Ipv4Addr::BROADCAST); super::super::MOST_ELEMENTS];
        let nat = vec![Ipv4Addr::BROADCAST; super::super::MOST_ELEMENTS];
        let table = "banger_ab12".to_owned();
        let request = Request::Look(RootLook::FirewallHolds { table, guests, nat });
        assert!(serde_json::to_vec(&request).unwrap().len() < LONGEST);
    }
}
