//! The jobs of simulated guests, which are in this process, like the guests, and end with it.
//!
//! A job's program prints its arguments. It ends when its input ends, which it does at once without
//! `input`, unless an argument is `stay`; then a signal ends it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use banger_guest::protocol::encode;
use banger_guest::streams::{
    AttachStart, ExecFrame, ExecReader, ExecStart, Job, JobAsk, JobName, JobReply, JobState,
    is_job_name,
};

use super::streams::{Program, read_line, read_program};

/// The interval at which an attached client is checked.
const LOOK: Duration = Duration::from_millis(10);

/// The jobs of all simulated machines, by the machine's process.
#[derive(Debug, Clone, Default)]
pub(super) struct Jobs(Arc<Mutex<BTreeMap<u32, Machine>>>);

#[derive(Debug, Default)]
struct Machine {
    last: u64,
    jobs: Vec<SimJob>,
}

#[derive(Debug)]
struct SimJob {
    job: Job,
    started: Instant,
    output: Vec<ExecFrame>,
    /// The status that it ends with by itself, and whether memory ran out.
    status: u8,
    oom_killed: Option<bool>,
    /// Whether a client writes to its input.
    is_taken: bool,
}

impl Machine {
    fn find(&mut self, reference: &str) -> Option<&mut SimJob> {
        let is_it =
            |it: &&mut SimJob| it.job.id == reference || it.job.name.as_deref() == Some(reference);
        self.jobs.iter_mut().rev().find(is_it)
    }
}

impl SimJob {
    fn view(&self) -> Job {
        let mut job = self.job.clone();
        if job.state == JobState::Running {
            job.run_millis = millis(self.started.elapsed());
        }
        job
    }

    fn end(&mut self, state: JobState) {
        if self.job.state == JobState::Running {
            self.job = self.view();
            self.job.state = state;
            self.job.oom_killed = self.oom_killed;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The first answer to a client: the job, or the reason why there is none.
type Begun = Result<Job, String>;

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Machine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the job that a client describes.
    pub(super) fn detach(&self, machine: u32, mut stream: UnixStream) -> io::Result<()> {
        let mut reader = ExecReader::default();
        let Some(program) = read_program(&mut stream, &mut reader)? else {
            return Ok(());
        };
        let answer = match self.begin(machine, &program) {
            Ok(job) => description(&job),
            Err(reason) => ExecFrame::Refusal(126, reason),
        };
        stream.write_all(&answer.encode())
    }

    fn begin(&self, machine: u32, program: &Program) -> Begun {
        let ExecStart { name, input, .. } = program.start.clone();
        if let Some(name) = name.as_ref().filter(|name| !is_job_name(name)) {
            return Err(format!("`{name}` cannot be the name of a job"));
        }
        if program.words.first().is_some_and(|word| word == "missing") {
            return Err("missing: command not found".to_owned());
        }
        let mut machines = self.lock();
        let jobs = machines.entry(machine).or_default();
        jobs.last += 1;
        let takes = input || program.start.terminal.is_some();
        let stays = takes || program.words.iter().any(|word| word == "stay");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut job = SimJob {
            job: Job {
                id: format!("j{}", jobs.last),
                name,
                command: program.words.clone(),
                user: program.start.user.clone().unwrap_or("root".to_owned()),
                pid: 1000,
                started_unix_millis: millis(now.unwrap_or_default()),
                run_millis: 0,
                state: JobState::Running,
                terminal: program.start.terminal.is_some(),
                input: takes,
                oom_killed: None,
            },
            started: Instant::now(),
            output: vec![ExecFrame::Stdout(program.output.clone())],
            status: program.status,
            oom_killed: program.oom_killed,
            is_taken: false,
        };
        let begun = job.view();
        if !stays {
            job.end(JobState::Exited(program.status));
        }
        jobs.jobs.push(job);
        Ok(begun)
    }

    /// Writes all jobs.
    pub(super) fn list(&self, machine: u32, mut stream: UnixStream) -> io::Result<()> {
        let mut machines = self.lock();
        let jobs = &machines.entry(machine).or_default().jobs;
        let views: Vec<Job> = jobs.iter().map(SimJob::view).collect();
        stream.write_all(&encode(&views))
    }

    /// Executes the request in a line.
    pub(super) fn ask(&self, machine: u32, mut stream: UnixStream) -> io::Result<()> {
        let ask: JobAsk = serde_json::from_slice(&read_line(&stream)?)?;
        let reply = self.obey(self.lock().entry(machine).or_default(), &ask);
        stream.write_all(&encode(&reply))
    }

    #[expect(clippy::unused_self, reason = "it is what these jobs do")]
    fn obey(&self, machine: &mut Machine, ask: &JobAsk) -> JobReply {
        let (JobAsk::Signal { job: name, .. } | JobAsk::Remove { job: name, .. }) = ask else {
            let (running, ended) = std::mem::take(&mut machine.jobs)
                .into_iter()
                .partition(|it| it.job.state == JobState::Running);
            machine.jobs = running;
            let ended: Vec<SimJob> = ended;
            return JobReply::Done(ended.iter().map(SimJob::view).collect());
        };
        let Some(found) = machine.find(name) else {
            return JobReply::Unknown;
        };
        let runs = found.job.state == JobState::Running;
        let before = found.view();
        match ask {
            JobAsk::Signal { number, .. } if runs => {
                found.end(JobState::Killed(*number));
                JobReply::Done(vec![before])
            }
            JobAsk::Signal { .. } => JobReply::Refused(format!("{} has ended", before.id)),
            JobAsk::Remove { force, .. } if runs && !force => {
                JobReply::Refused(format!("{} runs", before.id))
            }
            JobAsk::Remove { .. } | JobAsk::Prune => {
                found.end(JobState::Killed(9));
                let last = found.view();
                machine.jobs.retain(|it| it.job.id != last.id);
                JobReply::Done(vec![last])
            }
        }
    }

    /// Serves a client of a job until either ends.
    pub(super) fn attach(&self, machine: u32, mut stream: UnixStream) -> io::Result<()> {
        let JobName { job: name } = serde_json::from_slice(&read_line(&stream)?)?;
        let mut reader = ExecReader::default();
        let Some(program) = read_program(&mut stream, &mut reader)? else {
            return Ok(());
        };
        let start: AttachStart = serde_json::from_slice(&program.json)?;
        let begun = {
            let mut machines = self.lock();
            match machines.entry(machine).or_default().find(&name) {
                None => Err(format!("the VM has no job `{name}`")),
                Some(found) if start.input && found.is_taken => {
                    Err("another client writes to this job's input".to_owned())
                }
                Some(found) => {
                    found.is_taken |= start.input;
                    Ok(found.view())
                }
            }
        };
        match begun {
            Err(reason) => stream.write_all(&ExecFrame::Refusal(126, reason).encode()),
            Ok(job) => {
                stream.write_all(&description(&job).encode())?;
                let served = self.serve(machine, &job.id, &start, &mut stream, &mut reader);
                let mut machines = self.lock();
                if let Some(found) = machines.entry(machine).or_default().find(&job.id) {
                    found.is_taken &= !start.input;
                }
                served
            }
        }
    }

    fn serve(
        &self,
        machine: u32,
        id: &str,
        start: &AttachStart,
        stream: &mut UnixStream,
        reader: &mut ExecReader,
    ) -> io::Result<()> {
        let mut sent = 0;
        stream.set_read_timeout(Some(LOOK))?;
        loop {
            let (news, view) = {
                let mut machines = self.lock();
                let Some(found) = machines.entry(machine).or_default().find(id) else {
                    return Ok(());
                };
                (found.output[sent..].to_vec(), found.view())
            };
            sent += news.len();
            for frame in &news {
                stream.write_all(&frame.encode())?;
            }
            let end = match view.state.status() {
                _ if !start.follow => Some(description(&view)),
                status => status.map(ExecFrame::Exit),
            };
            if let Some(end) = end {
                return stream.write_all(&end.encode());
            }
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => reader.push(&bytes[..count]),
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                Err(cause) => return Err(cause),
            }
            while let Some(frame) = reader.next_frame().map_err(io::Error::other)? {
                let mut machines = self.lock();
                if let Some(found) = machines.entry(machine).or_default().find(id)
                    && start.input
                {
                    match frame {
                        ExecFrame::Stdin(bytes) => found.output.push(ExecFrame::Stderr(bytes)),
                        ExecFrame::StdinEnd => found.end(JobState::Exited(found.status)),
                        ExecFrame::Signal(number) => found.end(JobState::Killed(number)),
                        _ => {}
                    }
                }
            }
        }
    }
}

fn description(job: &Job) -> ExecFrame {
    ExecFrame::Job(serde_json::to_vec(job).unwrap_or_default())
}
