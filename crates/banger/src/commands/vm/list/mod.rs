//! `banger vm list`.

mod all_hosts;
mod column;
mod watch;

use std::collections::BTreeMap;
use std::process::ExitCode;

use banger_api::{Phase, VmId, VmView};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;

use crate::columns::columns;
use crate::completion;
use crate::failure::Outcome;
use crate::name_pattern::NamePattern;
use crate::output::{Colour, Output, say};
use crate::session::Session;
use crate::usage::History;
use banger_api::LabelSelector;
use column::{Column, OF_TRASH, USUAL, WIDE};

/// List VMs.
///
/// All conditions must hold: the name, the labels, the phase. An arrow separates a setting in force
/// from its value at the next start.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm list
  banger vm list --phase running 'web-*'
  banger vm list -l team=web --quiet   # the names alone
  banger vm list --sort memory --reverse -o wide
  banger vm list --watch
  banger vm list --all-hosts
  banger vm list --columns name,address,uptime -o csv
  banger vm list --json | jq -r '.[] | select(.phase == \"running\") | .name'")]
pub(crate) struct List {
    /// Only VMs with one of these names; * stands for any characters, ? for one.
    #[arg(value_name = "PATTERN", add = ArgValueCandidates::new(completion::vms))]
    patterns: Vec<NamePattern>,

    /// Only VMs with this label: KEY=VALUE, KEY!=VALUE, KEY or !KEY. Can be repeated.
    #[arg(short = 'l', long = "selector", value_name = "LABEL")]
    #[arg(add = ArgValueCandidates::new(completion::labels))]
    selectors: Vec<LabelSelector>,

    /// Only VMs in one of these phases.
    #[arg(long, value_name = "PHASE", value_delimiter = ',', ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(PHASES))]
    phase: Vec<String>,

    /// The columns of a table or of CSV, in this order.
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        ignore_case = true
    )]
    #[arg(conflicts_with_all = ["json", "quiet"])]
    columns: Vec<Column>,

    /// Sort by this column [default: name].
    #[arg(long, value_name = "COLUMN", ignore_case = true)]
    sort: Option<Column>,

    /// Sort the other way round.
    #[arg(long)]
    reverse: bool,

    /// The format: `name` is --quiet, `json` is --json [default: table].
    #[arg(long, short, value_name = "FORMAT", conflicts_with_all = ["json", "quiet"])]
    output: Option<Format>,

    /// Leave the titles of the columns out.
    #[arg(long)]
    no_headers: bool,

    /// The VMs in the trash, the last deleted first.
    #[arg(long)]
    deleted: bool,

    /// The VMs of this machine and of every host of `banger host add`. One that does not answer within 20 s is named, and the exit status is 1.
    #[arg(long)]
    all_hosts: bool,

    /// Continue with each change, until ^C or the daemon stops. A terminal also shows what the VMs use. With --json each state is a line.
    #[arg(long, short, conflicts_with_all = ["deleted", "all_hosts"])]
    watch: bool,

    /// All are listed anyway; users of other tools type it.
    #[arg(long, short, hide = true)]
    all: bool,
}

/// What VMs use.
type Usages = BTreeMap<VmId, History>;

/// The phases, and the further states that `--phase` accepts.
const PHASES: [&str; 10] = [
    "creating",
    "stopped",
    "starting",
    "running",
    "suspending",
    "suspended",
    "resuming",
    "stopping",
    "deleting",
    PAUSED,
];

const PAUSED: &str = "paused";

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Wide,
    Name,
    Json,
    Csv,
}

impl List {
    /// Prints the list.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let output = session.output;
        let format = match self.output {
            Some(format) => format,
            None if output.json => Format::Json,
            None if output.quiet => Format::Name,
            None => Format::Table,
        };
        if self.all_hosts {
            return all_hosts::run(self, session, format);
        }
        if self.watch {
            return watch::run(self, session, format);
        }
        let daemon = session.daemon()?;
        let (all, none) = if self.deleted {
            (daemon.trash()?, "the trash is empty")
        } else {
            (
                daemon.list()?,
                "there are no VMs yet; create one: banger vm create",
            )
        };
        let is_empty = all.is_empty();
        let vms = self.selected(all, Timestamp::now());
        let is_text = !matches!(format, Format::Json | Format::Csv);
        if is_text && vms.is_empty() {
            if !output.quiet {
                say(if is_empty { none } else { "no VM matches" });
            }
        } else {
            self.print(&vms, format, session)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, vms: &[VmView], format: Format, session: &Session) -> std::io::Result<()> {
        let (now, output) = (Timestamp::now(), session.output);
        let usual: &[Column] = match format {
            Format::Json => return output.value(&vms),
            Format::Csv => return output.text(&self.csv(vms, now)),
            Format::Name => {
                let names: Vec<_> = vms.iter().map(|vm| vm.name.as_str()).collect();
                return output.text(&names.join("\n"));
            }
            Format::Table if self.deleted => &OF_TRASH,
            Format::Table => &USUAL,
            Format::Wide => &WIDE,
        };
        output.text(&self.table(vms, usual, now, output, None))
    }

    fn selected(&self, mut vms: Vec<VmView>, now: Timestamp) -> Vec<VmView> {
        vms.retain(|vm| {
            let mut patterns = self.patterns.iter();
            let mut selectors = self.selectors.iter();
            let is_in = |phase: &str| {
                if phase.eq_ignore_ascii_case(PAUSED) {
                    vm.paused
                } else {
                    phase.eq_ignore_ascii_case(&vm.phase.to_string())
                }
            };
            (self.patterns.is_empty() || patterns.any(|it| it.matches(vm.name.as_str())))
                && selectors.all(|it| it.selects(&vm.spec.labels))
                && (self.phase.is_empty() || self.phase.iter().any(|phase| is_in(phase)))
        });
        // The sort is stable, and the VMs are sorted by name already.
        if let Some(column) = self.sort {
            vms.sort_by_cached_key(|vm| column.key(vm, now));
        }
        if self.reverse {
            vms.reverse();
        }
        vms
    }

    fn chosen<'c>(&'c self, usual: &'c [Column]) -> &'c [Column] {
        if self.columns.is_empty() {
            usual
        } else {
            &self.columns
        }
    }

    fn table(
        &self,
        vms: &[VmView],
        usual: &[Column],
        at: Timestamp,
        output: Output,
        usages: Option<&Usages>,
    ) -> String {
        let chosen = self.chosen(usual);
        let headers = usize::from(!self.no_headers);
        let mut rows = Vec::with_capacity(vms.len() + headers);
        if !self.no_headers {
            let titles = chosen.iter().map(|column| column.title());
            let used = usages.map(|_| ["CPU USED", "MEMORY USED"].map(str::to_owned));
            rows.push(titles.chain(used.into_iter().flatten()).collect());
        }
        rows.extend(vms.iter().map(|vm| {
            let cells = chosen.iter().map(|column| column.cell(vm, at));
            let used = usages.map(|usages| watch::usage_cells(usages.get(&vm.id), output.unicode));
            cells.chain(used.into_iter().flatten()).collect()
        }));
        columns(&rows, |row, column, cell| {
            let colour = match row.checked_sub(headers) {
                None => Colour::Grey,
                Some(row) if chosen.get(column) == Some(&Column::Phase) => colour(&vms[row]),
                Some(_) => return None,
            };
            output.colour.then(|| output.paint(colour, cell))
        })
    }

    /// The list as in RFC 4180, but with the line ends of this system.
    fn csv(&self, vms: &[VmView], at: Timestamp) -> String {
        let chosen = self.chosen(&WIDE);
        let line = |cell: &dyn Fn(Column) -> String| {
            let cells: Vec<_> = chosen.iter().map(|it| quoted(&cell(*it))).collect();
            cells.join(",") + "\n"
        };
        let mut text = String::new();
        if !self.no_headers {
            text += &line(&|column| column.csv_title());
        }
        for vm in vms {
            text += &line(&|column| column.value(vm, at));
        }
        text
    }
}

/// A field of CSV.
fn quoted(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

fn colour(vm: &VmView) -> Colour {
    if vm.paused {
        return Colour::Yellow;
    }
    match vm.phase {
        Phase::Running => Colour::Green,
        Phase::Stopped | Phase::Suspended => Colour::Grey,
        Phase::Creating
        | Phase::Starting
        | Phase::Suspending
        | Phase::Resuming
        | Phase::Stopping
        | Phase::Deleting => Colour::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use banger_api::Mib;

    use super::super::description::tests::{calm_otter, without_address};
    use super::*;

    fn vms() -> Vec<VmView> {
        let mut stopped = without_address();
        stopped.name = "running-web".parse().unwrap();
        stopped.phase = Phase::Stopped;
        stopped.ssh = None;
        stopped.spec.memory = Mib(10 << 10);
        let note = ("note".to_owned(), "a, \"b\"".to_owned());
        stopped.spec.labels.extend([note]);
        vec![calm_otter(), without_address(), stopped]
    }

    fn list(words: &[&str]) -> List {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            list: List,
            #[command(flatten)]
            global: crate::global::Global,
        }
        let words = ["list"].iter().chain(words);
        <Line as clap::Parser>::try_parse_from(words).unwrap().list
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_007_200).unwrap()
    }

    const PLAIN: Output = Output {
        json: false,
        quiet: false,
        terminal: false,
        colour: false,
        unicode: false,
    };

    #[test]
    fn the_list_is_aligned() {
        insta::assert_snapshot!(list(&[]).table(&vms(), &USUAL, now(), PLAIN, None), @r"
        NAME         PHASE    ADDRESS          VCPU  MEMORY  DISK  NAT  IMAGE    AGE
        calm-otter   running  10.215.0.2       2     2G      16G   on   default  2h
        calm-otter   running  127.0.0.1:40022  2     2G      16G   on   default  2h
        running-web  stopped  -                2     10G     16G   on   default  2h
        ");
    }

    #[test]
    fn only_the_phase_has_a_colour() {
        let output = Output {
            terminal: true,
            colour: true,
            ..PLAIN
        };
        let text = list(&[]).table(&vms(), &USUAL, now(), output, None);
        assert!(
            text.contains("calm-otter   \u{1b}[32mrunning\u{1b}[0m  10.215.0.2"),
            "{text}"
        );
        assert!(
            text.contains("\nrunning-web  \u{1b}[90mstopped\u{1b}[0m  -"),
            "{text}"
        );
    }

    #[test]
    fn csv_has_one_unit_in_a_column_and_quotes_what_would_split() {
        let list = list(&["--columns", "name,memory,address,age,labels"]);
        assert_eq!(
            list.csv(&vms(), now()),
            "name,memory_mib,address,age_seconds,labels\n\
             calm-otter,2048,10.215.0.2,7200,\n\
             calm-otter,2048,,7200,\n\
             running-web,10240,,7200,\"note=a, \"\"b\"\"\"\n"
        );
    }

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let names = |words: &[&str]| -> Vec<String> {
            let vms = list(words).selected(vms(), now()).into_iter();
            vms.map(|vm| format!("{} {}", vm.name, vm.spec.memory))
                .collect()
        };
        assert_eq!(
            names(&[
                "--sort",
                "memory",
                "--reverse",
                "--phase",
                "stopped,running"
            ])[0],
            "running-web 10G"
        );
        assert_eq!(names(&["--sort", "address"])[2], "calm-otter 2G");
        assert_eq!(names(&["run*", "--phase", "running"]).len(), 0);
        assert_eq!(names(&["run*", "-l", "note"]).len(), 1);
    }
}
