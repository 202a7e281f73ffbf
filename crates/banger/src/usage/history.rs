//! The history of one VM's usage. It is bounded, and tells of each stretch of time what was measured
//! last in it, so that measurements at different paces make one curve.

use std::collections::VecDeque;

use banger_api::StatsView;
use jiff::Timestamp;

use super::Rates;

/// The most moments that are kept: ten minutes at the fastest pace.
const MOST: usize = 300;
/// How long a moment stands for what follows it, in seconds.
const STANDS: i64 = 15;

/// What a VM used at a moment. Parts are from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    /// When.
    pub(crate) at: Timestamp,
    /// The part of its virtual CPUs that work; none at the first measurement.
    pub(crate) cpu: Option<f64>,
    /// The part of its memory that is in use; none where the guest does not tell.
    pub(crate) memory: Option<f64>,
    /// The bytes of it.
    pub(crate) memory_bytes: u64,
    /// The bytes that its disks take on the host.
    pub(crate) disk_bytes: u64,
    /// Bytes a second.
    pub(crate) received: Option<f64>,
    /// Bytes a second.
    pub(crate) sent: Option<f64>,
    /// Bytes a second, from its disks.
    pub(crate) read: Option<f64>,
    /// Bytes a second, to its disks.
    pub(crate) written: Option<f64>,
}

/// What a VM used.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    last: Option<StatsView>,
    moments: VecDeque<Moment>,
}

impl History {
    /// Takes a measurement in. One that is older than the last is left out.
    pub(crate) fn take(&mut self, stats: StatsView) {
        let before = self.last.as_ref();
        if before.is_some_and(|before| before.time >= stats.time) {
            return;
        }
        let rates = before.map(|before| Rates::between(before, &stats));
        self.moments.push_back(moment(&stats, rates));
        if self.moments.len() > MOST {
            self.moments.pop_front();
        }
        self.last = Some(stats);
    }

    /// The last measurement.
    pub(crate) fn last(&self) -> Option<&StatsView> {
        self.last.as_ref()
    }

    /// The newest moment.
    pub(crate) fn newest(&self) -> Option<&Moment> {
        self.moments.back()
    }

    /// A value for each stretch of `seconds`, the newest last; none where nothing was measured. The
    /// stretches are fixed in time, so that a new moment moves the curve and nothing else does.
    pub(crate) fn series(
        &self,
        count: usize,
        seconds: i64,
        value: impl Fn(&Moment) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let mut series = vec![None; count];
        let Some(newest) = self.newest() else {
            return series;
        };
        let stretch = |at: Timestamp| at.as_second().div_euclid(seconds.max(1));
        let last = stretch(newest.at);
        let stands = STANDS.div_euclid(seconds.max(1));
        let place = |stretch: i64| {
            let back = usize::try_from(last - stretch).ok()?;
            count.checked_sub(back + 1)
        };
        let mut moments = self.moments.iter().peekable();
        while let Some(moment) = moments.next() {
            let own = stretch(moment.at);
            let next = moments.peek().map_or(own + 1, |it| stretch(it.at));
            let until = next.min(own + 1 + stands).max(own + 1);
            for place in (own..until).filter_map(place) {
                series[place] = value(moment);
            }
        }
        series
    }
}

#[expect(clippy::cast_precision_loss, reason = "parts of a whole are drawn")]
fn moment(stats: &StatsView, rates: Option<Rates>) -> Moment {
    let vcpu = f64::from(stats.vcpu.max(1));
    let memory = stats.guest.map(|guest| {
        let used = guest.memory_bytes.saturating_sub(guest.available_bytes);
        (used, used as f64 / guest.memory_bytes.max(1) as f64)
    });
    Moment {
        at: stats.time,
        cpu: rates.map(|it| (it.cpus() / vcpu).clamp(0.0, 1.0)),
        memory: memory.map(|it| it.1),
        memory_bytes: memory.map_or(stats.host.memory_bytes, |it| it.0),
        disk_bytes: stats.disks.iter().map(|it| it.allocated_bytes).sum(),
        received: rates.and_then(|it| it.received_bytes),
        sent: rates.and_then(|it| it.sent_bytes),
        read: rates.and_then(|it| it.read_bytes),
        written: rates.and_then(|it| it.written_bytes),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use banger_api::{GuestUsage, HostUsage};

    use super::*;

    /// A measurement at this second, after which the guest's CPUs had worked so many milliseconds.
    pub(crate) fn stats(second: i64, cpu_millis: u64) -> StatsView {
        let at = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        StatsView {
            name: "web".parse().unwrap(),
            time: at(second),
            vcpu: 2,
            host: HostUsage {
                cpu_millis,
                memory_bytes: 1 << 20,
                shared_evenly: true,
            },
            guest: Some(GuestUsage {
                uptime_millis: 1,
                cpu_millis,
                load_hundredths: 0,
                memory_bytes: 2 << 30,
                available_bytes: 3 << 29,
                received_bytes: cpu_millis * 1000,
                sent_bytes: 0,
                read_bytes: None,
                written_bytes: Some(cpu_millis * 2000),
                oom_kills: Some(0),
            }),
            guest_error: None,
            disks: Vec::new(),
        }
    }

    fn cpu(history: &History, count: usize, seconds: i64) -> Vec<Option<u8>> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "percents"
        )]
        let percent = |part: f64| (part * 100.0).round() as u8;
        let series = history.series(count, seconds, |it| it.cpu);
        series.into_iter().map(|it| it.map(percent)).collect()
    }

    #[test]
    fn parts_are_of_what_the_vm_is_given() {
        let mut history = History::default();
        history.take(stats(0, 0));
        let first = history.newest().unwrap();
        assert_eq!((first.cpu, first.memory), (None, Some(0.25)));
        history.take(stats(2, 1000));
        let second = history.newest().unwrap();
        assert_eq!(second.cpu, Some(0.25), "half a CPU of two");
        assert_eq!(second.received, Some(500_000.0));
        assert_eq!((second.read, second.written), (None, Some(1_000_000.0)));
        history.take(stats(1, 5000));
        assert_eq!(history.newest().unwrap().cpu, Some(0.25), "an old one");
        history.take(stats(4, 0));
        assert_eq!(history.newest().unwrap().cpu, Some(0.0), "begun anew");
    }

    #[test]
    fn a_slow_pace_and_a_fast_one_make_one_curve_with_gaps_where_nothing_was_measured() {
        let mut history = History::default();
        for (second, millis) in [(0, 0), (10, 2000), (12, 2800), (14, 4400), (60, 4400)] {
            history.take(stats(second, millis));
        }
        assert_eq!(
            cpu(&history, 8, 2),
            [None, None, None, None, None, None, None, Some(0)]
        );
        let mut history = History::default();
        for (second, millis) in [(0, 0), (10, 2000), (12, 2800), (14, 4400)] {
            history.take(stats(second, millis));
        }
        assert_eq!(
            cpu(&history, 4, 2),
            [None, Some(10), Some(20), Some(40)],
            "the first measurement has no rate"
        );
        assert_eq!(cpu(&history, 2, 10), [None, Some(40)]);
        assert_eq!(cpu(&History::default(), 2, 10), [None, None]);
    }

    #[test]
    fn it_has_an_end() {
        let mut history = History::default();
        for second in 0..2000 {
            history.take(stats(second, 0));
        }
        assert_eq!(history.moments.len(), MOST);
    }
}
