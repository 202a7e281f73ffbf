//! The options of ssh for a connection to a VM.
//!
//! ssh uses the first value of an option. So mandatory options come first, then the user's, then
//! defaults.

use std::ffi::OsString;

use banger_api::SshView;

/// Timeout for connecting, in seconds.
///
/// A small guest on an emulated CPU takes this long for fifty simultaneous logins.
const CONNECT_TIMEOUT: u32 = 45;

/// Seconds of silence before a keepalive.
const ALIVE_INTERVAL: u32 = 6;
/// The number of keepalives without an answer: the session ends after (8 + 1) × 6 = 54 s, far
/// longer than a busy guest needs.
const ALIVE_COUNT: u32 = 8;

/// The arguments of ssh: the login is `user` or root, and the destination comes last.
pub(super) fn arguments(view: &SshView, user: Option<&str>, own: &[OsString]) -> Vec<OsString> {
    // No configuration file, not even the user's own: a `Host *` with a jump host, another user,
    // a RemoteCommand or a shared connection would break the guarantee that argv and
    // status pass exactly and that the host key is checked. `-o` brings single options back.
    let mut arguments: Vec<OsString> = vec!["-F".into(), "none".into()];
    for (keyword, value) in view.options() {
        arguments.extend(["-o".into(), format!("{keyword}={value}").into()]);
    }
    arguments.extend(own.iter().cloned());
    for option in defaults() {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.extend(["-p".into(), view.port.to_string().into()]);
    let user = user.unwrap_or(&view.user);
    arguments.push(format!("{user}@{}", view.host).into());
    arguments
}

fn defaults() -> [String; 3] {
    [
        format!("ConnectTimeout={CONNECT_TIMEOUT}"),
        format!("ServerAliveInterval={ALIVE_INTERVAL}"),
        format!("ServerAliveCountMax={ALIVE_COUNT}"),
    ]
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::super::description::tests::calm_otter;
    use super::*;

    /// The options as the real ssh reads them, if ssh is installed.
    #[expect(clippy::disallowed_methods, reason = "a test asks the real ssh")]
    fn as_ssh_reads(arguments: &[OsString]) -> Option<String> {
        let output = Command::new("ssh")
            .arg("-G")
            .args(arguments)
            .output()
            .ok()?;
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }

    fn options(words: &[&str]) -> Vec<OsString> {
        words
            .iter()
            .flat_map(|it| ["-o".into(), it.into()])
            .collect()
    }

    #[test]
    fn no_option_of_the_user_turns_off_the_check_of_the_host_key() {
        let own = options(&[
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "HostKeyAlias=other",
        ]);
        let view = calm_otter().ssh.unwrap();
        let Some(read) = as_ssh_reads(&arguments(&view, None, &own)) else {
            return;
        };
        assert!(read.contains("\nstricthostkeychecking true\n"), "{read}");
        assert!(read.contains("\nhostkeyalias banger-00ab12cd\n"), "{read}");
        assert!(read.contains("banger/ssh/known_hosts\n"), "{read}");
    }

    #[test]
    fn a_silent_guest_is_given_up_within_a_minute_unless_the_user_says_otherwise() {
        const { assert!((ALIVE_COUNT + 1) * ALIVE_INTERVAL < 60 && CONNECT_TIMEOUT < 60) };
        let view = calm_otter().ssh.unwrap();
        let Some(read) = as_ssh_reads(&arguments(&view, None, &[])) else {
            return;
        };
        assert!(read.contains("\nserveraliveinterval 6\n"), "{read}");
        let own = options(&["ServerAliveInterval=0", "ConnectTimeout=1"]);
        let read = as_ssh_reads(&arguments(&view, None, &own)).unwrap();
        assert!(read.contains("\nserveraliveinterval 0\n"), "{read}");
        assert!(read.contains("\nconnecttimeout 1\n"), "{read}");
    }

    #[test]
    fn another_user_may_log_in() {
        let view = calm_otter().ssh.unwrap();
        let last = |user| arguments(&view, user, &[]).pop().unwrap();
        assert_eq!(last(None), "root@10.215.0.2");
        assert_eq!(last(Some("dev")), "dev@10.215.0.2");
    }

    #[test]
    fn a_path_with_spaces_and_percents_is_one_path() {
        let mut view = calm_otter().ssh.unwrap();
        view.known_hosts = "/srv/my vms/50%h/known \"hosts\"".into();
        view.key = "/srv/my vms/50%d/key".into();
        let Some(read) = as_ssh_reads(&arguments(&view, None, &[])) else {
            return;
        };
        // `-G` prints this option with its tokens expanded, and the other one unexpanded.
        assert!(
            read.contains("\nuserknownhostsfile /srv/my vms/50%h/known \"hosts\"\n"),
            "{read}"
        );
        assert!(
            read.contains("\nidentityfile /srv/my vms/50%%d/key\n"),
            "{read}"
        );
    }
}
