//! The jobs of this boot, in `/run/banger/jobs`.
//!
//! | file | content |
//! |---|---|
//! | `lock` | locked while jobs are added and removed |
//! | `last` | the number of the newest job |
//! | `ID/lock` | locked as long as the job's supervisor lives |
//! | `ID/record.json` | the job, as its supervisor last wrote it |
//! | `ID/output/` | its output |
//! | `ID/socket` | the socket where the supervisor accepts clients and signals |
//!
//! State of jobs exists nowhere else, so the agent may end and start at any time.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use banger_guest::streams::{Job, JobState, MOST_ENDED_JOBS, MOST_JOBS, is_job_id, is_job_name};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::boot_record::FOLDER;
use crate::system::clock;
use crate::system::replace::{self, Rights, make_directory};

/// The record of a job, which its supervisor writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) job: Job,
    /// The start time, in milliseconds since the kernel started.
    pub(crate) started_uptime_millis: u64,
}

/// All jobs.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// The folder of one job, locked by its supervisor.
#[derive(Debug)]
pub(crate) struct JobFolder {
    pub(crate) id: String,
    folder: PathBuf,
    /// The lock, held until this is dropped.
    _lock: File,
}

impl JobFolder {
    /// Writes the record; a crash leaves the old one or the new one.
    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        let json = serde_json::to_vec(record)?;
        replace::write(&self.folder.join("record.json"), &json, Rights::root(0o600))
    }

    /// The folder of the output.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// The path of the supervisor's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Removes a job that was never started.
    pub(crate) fn give_up(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Store {
    /// The jobs of this guest.
    pub(crate) fn of_guest() -> Self {
        Self::at(Path::new(FOLDER).join("jobs"))
    }

    /// The jobs in this folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The path of the socket of a job's supervisor.
    pub(crate) fn socket(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("socket")
    }

    /// The folder of a job's output.
    pub(crate) fn output(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("output")
    }

    /// Creates the folder of a new job; fails with a reason if there are too many, or the name is
    /// taken.
    pub(crate) fn allot(&self, name: Option<&str>) -> Result<JobFolder, String> {
        if let Some(name) = name.filter(|name| !is_job_name(name)) {
            let name = name.escape_debug();
            return Err(format!("`{name}` cannot be the name of a job"));
        }
        let failed =
            |cause: io::Error| format!("make a job in `{}`: {cause}", self.folder.display());
        let _lock = self.lock().map_err(failed)?;
        let jobs = self.list();
        let mut running = jobs.iter().filter(|job| job.state == JobState::Running);
        if let Some(job) = running
            .clone()
            .find(|job| name.is_some() && job.name.as_deref() == name)
        {
            let name = name.unwrap_or_default();
            return Err(format!("the job {} has the name `{name}` and runs", job.id));
        }
        if running.nth(MOST_JOBS - 1).is_some() {
            return Err(format!("{MOST_JOBS} jobs run already"));
        }
        self.folder(&jobs).map_err(failed)
    }

    fn folder(&self, jobs: &[Job]) -> io::Result<JobFolder> {
        let last = self.folder.join("last");
        let newest = jobs.last().map_or(0, |job| number(&job.id));
        let before: u64 = fs::read_to_string(&last)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(newest);
        let id = format!("j{}", before + 1);
        fs::write(&last, (before + 1).to_string())?;
        let folder = self.folder.join(&id);
        DirBuilder::new().mode(0o700).create(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(JobFolder {
            id,
            folder,
            _lock: lock,
        })
    }

    /// All jobs, in the order of their start.
    pub(crate) fn list(&self) -> Vec<Job> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let ids = names.filter(|name| is_job_id(name));
        let mut jobs: Vec<Job> = ids.filter_map(|id| self.read(&id)).collect();
        jobs.sort_by_key(|job| number(&job.id));
        jobs
    }

    /// The job with this id, or the newest with this name.
    pub(crate) fn find(&self, reference: &str) -> Option<Job> {
        if is_job_id(reference) {
            return self.read(reference);
        }
        let named = |job: &Job| job.name.as_deref() == Some(reference);
        self.list().into_iter().rfind(named)
    }

    fn read(&self, id: &str) -> Option<Job> {
        let record = || -> Option<Record> {
            let json = fs::read(self.folder.join(id).join("record.json")).ok()?;
            serde_json::from_slice(&json).ok()
        };
        let mut found = record()?;
        if found.job.state == JobState::Running && self.is_abandoned(id) {
            // The job may have ended between the two looks.
            found = record()?;
            if found.job.state == JobState::Running {
                found.job.state = JobState::Lost;
            }
        }
        let mut job = found.job;
        if job.state == JobState::Running {
            job.run_millis = clock::uptime_millis().saturating_sub(found.started_uptime_millis);
        }
        Some(job)
    }

    /// Whether the supervisor has ended.
    fn is_abandoned(&self, id: &str) -> bool {
        let lock = File::open(self.folder.join(id).join("lock"));
        lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_ok())
    }

    /// Removes an ended job; returns whether it did.
    pub(crate) fn remove(&self, id: &str) -> io::Result<bool> {
        let _lock = self.lock()?;
        self.remove_ended(id)
    }

    fn remove_ended(&self, id: &str) -> io::Result<bool> {
        match self.read(id) {
            Some(job) if job.state != JobState::Running => {
                fs::remove_dir_all(self.folder.join(id)).map(|()| true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Removes all ended jobs except the `keep` newest; returns the removed ones.
    pub(crate) fn prune(&self, keep: usize) -> io::Result<Vec<Job>> {
        let _lock = self.lock()?;
        let mut ended = self.list();
        ended.retain(|job| job.state != JobState::Running);
        ended.truncate(ended.len().saturating_sub(keep));
        for job in &ended {
            self.remove_ended(&job.id)?;
        }
        Ok(ended)
    }

    /// Removes the oldest ended jobs beyond the limit.
    pub(crate) fn make_room(&self) {
        // Jobs that cannot be removed stay until the guest ends.
        let _ = self.prune(MOST_ENDED_JOBS);
    }

    fn lock(&self) -> io::Result<File> {
        make_directory(&self.folder, 0o700)?;
        let lock = File::create(self.folder.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }
}

fn number(id: &str) -> u64 {
    id[1..].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn record(folder: &JobFolder, name: Option<&str>, state: JobState) -> Record {
        Record {
            job: Job {
                id: folder.id.clone(),
                name: name.map(str::to_owned),
                command: vec!["true".to_owned()],
                user: "root".to_owned(),
                pid: 1,
                started_unix_millis: 0,
                run_millis: 0,
                state,
                terminal: false,
                input: false,
                oom_killed: None,
            },
            started_uptime_millis: 0,
        }
    }

    #[test]
    fn ids_are_never_given_twice_and_names_of_running_jobs_neither() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("jobs"));
        let first = store.allot(Some("web")).unwrap();
        first
            .write(&record(&first, Some("web"), JobState::Running))
            .unwrap();
        assert!(store.allot(Some("web")).unwrap_err().contains("j1"));
        store.allot(Some("j7")).unwrap_err();
        assert_eq!(store.find("web").unwrap().id, "j1");
        assert!(!store.remove("j1").unwrap(), "it runs");
        first
            .write(&record(&first, Some("web"), JobState::Exited(3)))
            .unwrap();
        let second = store.allot(Some("web")).unwrap();
        assert_eq!(second.id, "j2");
        second.give_up();
        assert!(store.remove("j1").unwrap());
        assert_eq!(store.list(), []);
        assert_eq!(store.allot(None).unwrap().id, "j3");
    }

    #[test]
    fn a_job_whose_supervisor_is_gone_is_lost() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("jobs"));
        let folder = store.allot(None).unwrap();
        folder
            .write(&record(&folder, None, JobState::Running))
            .unwrap();
        assert_eq!(store.find("j1").unwrap().state, JobState::Running);
        drop(folder);
        assert_eq!(store.find("j1").unwrap().state, JobState::Lost);
        assert_eq!(store.find("j2"), None);
        assert_eq!(store.find("../jobs/j1"), None);
    }

    #[test]
    fn the_oldest_ended_jobs_go_first() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("jobs"));
        let mut kept = Vec::new();
        for number in 0..12 {
            let folder = store.allot(None).unwrap();
            let state = if number == 0 {
                JobState::Running
            } else {
                JobState::Killed(9)
            };
            folder.write(&record(&folder, None, state)).unwrap();
            kept.push(folder);
        }
        let gone = store.prune(3).unwrap();
        assert_eq!((gone.len(), gone[0].id.as_str()), (8, "j2"));
        let ids: Vec<String> = store.list().into_iter().map(|job| job.id).collect();
        assert_eq!(ids, ["j1", "j10", "j11", "j12"]);
    }
}
