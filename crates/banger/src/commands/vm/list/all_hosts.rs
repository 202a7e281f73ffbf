//! `banger vm list --all-hosts`.

use std::process::ExitCode;

use banger_api::client::Client;
use banger_api::{Error, VmView};
use jiff::Timestamp;
use serde::Serialize;

use super::{Format, List, USUAL, WIDE, quoted};
use crate::all_hosts::{self, Answers};
use crate::columns::columns;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::remote::LOCAL;
use crate::session::Session;

/// A VM and its host.
#[derive(Debug, Serialize)]
struct VmOnHost {
    host: String,
    #[serde(flatten)]
    vm: VmView,
}

/// A host that did not answer.
#[derive(Debug, Serialize)]
struct SilentHost {
    host: String,
    error: Error,
}

/// The answer in JSON.
#[derive(Debug, Serialize)]
struct Answer {
    vms: Vec<VmOnHost>,
    unreachable: Vec<SilentHost>,
}

/// Prints the VMs of every host, and the hosts that did not answer; with any of those the exit
/// status is 1.
pub(super) fn run(list: &List, session: &Session, format: Format) -> Outcome {
    let question = if list.deleted {
        Client::trash
    } else {
        Client::list
    };
    let Answers { heard, silent } = all_hosts::ask(session, question)?;
    let now = Timestamp::now();
    let mut vms = Vec::new();
    for (host, found) in heard {
        let found = list.selected(found, now).into_iter();
        vms.extend(found.map(|vm| VmOnHost {
            host: host.clone(),
            vm,
        }));
    }
    let output = session.output;
    let is_complete = silent.is_empty();
    if format == Format::Json {
        let unreachable = silent.into_iter();
        let unreachable = unreachable.map(|(host, error)| SilentHost { host, error });
        output.value(&Answer {
            vms,
            unreachable: unreachable.collect(),
        })?;
    } else {
        match format {
            Format::Name => {
                for one in &vms {
                    output.text(&full_name(one))?;
                }
            }
            Format::Csv => output.text(&csv(list, &vms, now))?,
            _ if vms.is_empty() => say("no VM matches"),
            Format::Wide => output.text(&table(list, &vms, &WIDE, now))?,
            Format::Table | Format::Json => output.text(&table(list, &vms, &USUAL, now))?,
        }
        for (host, error) in &silent {
            output.warning(&format!("{host} is missing: {error}"));
        }
    }
    if is_complete {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::Status(1))
    }
}

/// The VM's name in `ssh-config`.
fn full_name(one: &VmOnHost) -> String {
    if one.host == LOCAL {
        one.vm.name.to_string()
    } else {
        format!("{}.{}", one.vm.name, one.host)
    }
}

fn table(list: &List, vms: &[VmOnHost], usual: &[super::Column], at: Timestamp) -> String {
    let chosen = list.chosen(usual);
    let mut rows = Vec::with_capacity(vms.len() + 1);
    if !list.no_headers {
        let titles = chosen.iter().map(|column| column.title());
        rows.push(std::iter::once("HOST".to_owned()).chain(titles).collect());
    }
    for one in vms {
        let cells = chosen.iter().map(|column| column.cell(&one.vm, at));
        rows.push(std::iter::once(one.host.clone()).chain(cells).collect());
    }
    columns(&rows, |_, _, _| None)
}

fn csv(list: &List, vms: &[VmOnHost], at: Timestamp) -> String {
    let chosen = list.chosen(&WIDE);
    let line = |cells: Vec<String>| {
        let cells: Vec<_> = cells.iter().map(|it| quoted(it)).collect();
        cells.join(",") + "\n"
    };
    let mut text = String::new();
    if !list.no_headers {
        let titles = chosen.iter().map(|column| column.csv_title());
        text += &line(std::iter::once("host".to_owned()).chain(titles).collect());
    }
    for one in vms {
        let values = chosen.iter().map(|column| column.value(&one.vm, at));
        text += &line(std::iter::once(one.host.clone()).chain(values).collect());
    }
    text
}
