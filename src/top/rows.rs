//! The rows of the table: the workers of all shown instances, and their threads that have a request
//! in hand. Which columns there are, in which order rows come, and which are left out.

use std::cmp::Ordering;
use std::path::PathBuf;

use rcorn_control::{ThreadStatus, WorkerStatus};

use crate::instance::Instance;
use crate::text;

/// A worker, or a thread of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// Whose worker it is.
    pub(crate) instance: &'a Instance,
    /// The worker.
    pub(crate) worker: &'a WorkerStatus,
    /// The thread; `None`: the worker itself.
    pub(crate) thread: Option<&'a ThreadStatus>,
}

/// What names a row from one look to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowId {
    path: PathBuf,
    worker: u64,
    thread: Option<u16>,
}

impl Row<'_> {
    /// What names it.
    pub(crate) fn id(&self) -> RowId {
        RowId {
            path: self.instance.path.clone(),
            worker: self.worker.id,
            thread: self.thread.map(|thread| thread.number),
        }
    }

    /// The worker's requests a second.
    fn rate(&self) -> Option<f64> {
        self.instance.rates().of_worker(self.worker.id)
    }

    /// For how long the request in hand has been in hand, in seconds.
    fn request_age(&self) -> Option<f64> {
        self.thread
            .map_or(self.worker.request_age, |thread| thread.request_age)
    }

    fn request(&self) -> String {
        match (self.thread, self.worker.threads.len()) {
            (Some(thread), _) => thread.request.clone().unwrap_or_default(),
            (None, 0) => self.worker.request.clone().unwrap_or_default(),
            (None, all) => {
                let busy = self.worker.busy_threads().count();
                format!("{busy} of {all} threads busy")
            }
        }
    }

    /// Whether a cell of it contains this, in either case.
    fn contains(&self, part: &str) -> bool {
        Column::ALL.iter().any(|column| {
            let text = column.text(self).to_lowercase();
            text.contains(part)
        })
    }
}

macro_rules! columns {
    ($($(#[doc = $doc:literal])+ $name:ident = $heading:literal, $width:literal, $side:ident, $text:expr, $order:expr;)+) => {
        /// A column of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Column {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Column {
            /// All of them, from left to right.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its heading.
            pub(crate) const fn heading(self) -> &'static str {
                match self { $(Self::$name => $heading,)+ }
            }

            /// Its width; the last takes what is left.
            pub(crate) const fn width(self) -> u16 {
                match self { $(Self::$name => $width,)+ }
            }

            /// Whether it holds numbers.
            pub(crate) const fn is_number(self) -> bool {
                match self { $(Self::$name => matches!(Side::$side, Side::Right),)+ }
            }

            /// Its text for a row.
            pub(crate) fn text(self, row: &Row<'_>) -> String {
                let text: fn(&Row<'_>) -> String = match self { $(Self::$name => $text,)+ };
                text(row)
            }

            /// Whether a worker comes before another.
            fn order(self, one: &Row<'_>, other: &Row<'_>) -> Ordering {
                let order: fn(&Row<'_>, &Row<'_>) -> Ordering = match self { $(Self::$name => $order,)+ };
                order(one, other)
            }
        }
    };
}

/// On which side of its column a text stands.
enum Side {
    Left,
    Right,
}

columns! {
    /// The arbiter's pid: where several instances are shown.
    Instance = "RCORN", 7, Right,
        |row| or_dash(row.instance.status.as_ref().map(|status| status.pid)),
        |one, other| one.instance.path.cmp(&other.instance.path);
    /// The worker's id.
    Id = "ID", 4, Right,
        |row| if row.thread.is_some() { String::new() } else { row.worker.id.to_string() },
        |one, other| one.worker.id.cmp(&other.worker.id);
    /// Its pid, or the thread's number in the kernel.
    Pid = "PID", 7, Right,
        |row| match row.thread {
            Some(thread) => thread.tid.to_string(),
            None => or_dash(row.worker.pid),
        },
        |one, other| one.worker.pid.cmp(&other.worker.pid);
    /// Its generation.
    Generation = "GEN", 3, Right,
        |row| if row.thread.is_some() { String::new() } else { row.worker.generation.to_string() },
        |one, other| one.worker.generation.cmp(&other.worker.generation);
    /// Its stage, or the thread's number in its worker.
    Stage = "STAGE", 9, Left,
        |row| match row.thread {
            Some(thread) => format!("thread {}", thread.number),
            None => row.worker.stage.clone(),
        },
        |one, other| one.worker.stage.cmp(&other.worker.stage);
    /// For how long it has served.
    Age = "AGE", 4, Right,
        |row| match (row.thread, row.worker.age) {
            (Some(_), _) => String::new(),
            (None, age) => or_dash(age.map(text::time)),
        },
        |one, other| by_number(one.worker.age, other.worker.age);
    /// Requests it has served.
    Requests = "REQS", 7, Right,
        |row| text::count(row.thread.map_or(row.worker.requests, |thread| thread.requests)),
        |one, other| one.worker.requests.cmp(&other.worker.requests);
    /// Requests a second.
    Rate = "REQ/S", 5, Right,
        |row| if row.thread.is_some() { String::new() } else { or_dash(row.rate().map(text::rate)) },
        |one, other| by_number(one.rate(), other.rate());
    /// Connections it holds.
    Connections = "CONN", 4, Right,
        |row| if row.thread.is_some() { String::new() } else { row.worker.connections.to_string() },
        |one, other| one.worker.connections.cmp(&other.worker.connections);
    /// Its resident memory.
    Memory = "MEM", 5, Right,
        |row| match (row.thread, row.worker.resident) {
            (Some(_), _) => String::new(),
            (None, resident) => or_dash(resident.map(text::memory)),
        },
        |one, other| one.worker.resident.cmp(&other.worker.resident);
    /// For how long the request has been in hand.
    Time = "TIME", 5, Right,
        |row| row.request_age().map(text::time).unwrap_or_default(),
        |one, other| by_number(one.request_age(), other.request_age());
    /// The request in hand.
    Request = "REQUEST", 17, Left, |row| row.request(), |one, other| one.request().cmp(&other.request());
}

impl Column {
    /// The columns for a table of this width: `RCORN` only where several instances are shown, `GEN`
    /// and `AGE` only where there is room.
    pub(crate) fn shown(width: u16, several: bool) -> Vec<Self> {
        let is_wide = width >= 100;
        let columns = Self::ALL.iter().copied();
        let shown = columns.filter(|column| match column {
            Self::Instance => several,
            Self::Generation | Self::Age => is_wide,
            Self::Id
            | Self::Pid
            | Self::Stage
            | Self::Requests
            | Self::Rate
            | Self::Connections
            | Self::Memory
            | Self::Time
            | Self::Request => true,
        });
        shown.collect()
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Those that have none come first.
fn by_number(one: Option<f64>, other: Option<f64>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

/// In which order rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    /// The column that decides.
    pub(crate) column: Column,
    /// The largest first.
    pub(crate) descending: bool,
}

impl Sort {
    /// Decides by the column that is `step` columns further to the right, or the left.
    pub(crate) fn moved(self, step: isize) -> Self {
        let all = Column::ALL;
        let place = all.iter().position(|column| *column == self.column);
        let count = isize::try_from(all.len()).unwrap_or(isize::MAX);
        let place = isize::try_from(place.unwrap_or(0)).unwrap_or(0);
        let place = place.saturating_add(step).rem_euclid(count.max(1));
        let column = usize::try_from(place).ok().and_then(|place| all.get(place));
        let column = column.copied().unwrap_or(self.column);
        Self {
            column,
            // Who asks for the order of numbers looks for the largest.
            descending: column.is_number() && !matches!(column, Column::Instance | Column::Id),
        }
    }
}

/// The rows of these instances: each worker that has `filter` in it, or a thread with it, and below
/// it its busy threads.
pub(crate) fn rows<'a>(
    instances: impl Iterator<Item = &'a Instance>,
    sort: Sort,
    filter: &str,
    with_threads: bool,
) -> Vec<Row<'a>> {
    let part = filter.to_lowercase();
    let mut workers: Vec<Row<'a>> = instances
        .flat_map(|instance| {
            let workers = instance.status.iter().flat_map(|status| &status.workers);
            workers.map(move |worker| Row {
                instance,
                worker,
                thread: None,
            })
        })
        .collect();
    workers.sort_by(|one, other| {
        let order = sort.column.order(one, other);
        let order = if sort.descending {
            order.reverse()
        } else {
            order
        };
        order
            .then_with(|| one.instance.path.cmp(&other.instance.path))
            .then_with(|| one.worker.id.cmp(&other.worker.id))
    });
    let mut rows = Vec::new();
    for worker in workers {
        let is_asked_for = worker.contains(&part);
        let threads = worker.worker.busy_threads().map(|thread| Row {
            thread: Some(thread),
            ..worker
        });
        let threads: Vec<Row<'a>> = threads
            .filter(|thread| is_asked_for || thread.contains(&part))
            .collect();
        if is_asked_for || !threads.is_empty() {
            rows.push(worker);
            rows.extend(threads.into_iter().filter(|_| with_threads));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::instance::tests::status;

    fn instance() -> Instance {
        let mut instance = Instance::at("/run/x".into(), Instant::now());
        let workers = [(1, "serving", 9), (2, "hung", 50), (3, "booting", 0)];
        let mut status = status(10, &workers);
        status.workers[1].request = Some("GET /Slow from 127.0.0.1".to_owned());
        status.workers[1].request_age = Some(31.0);
        let threads = r#"[
            {"number": 1, "tid": 21, "requests": 4, "request": "GET /a", "request_age": 0.5},
            {"number": 2, "tid": 22, "requests": 5}
        ]"#;
        status.workers[0].threads = serde_json::from_str(threads).unwrap();
        instance.see(Instant::now(), Ok(status));
        instance
    }

    const BY_ID: Sort = Sort {
        column: Column::Id,
        descending: false,
    };

    fn ids(instance: &Instance, sort: Sort, filter: &str) -> Vec<(u64, Option<u16>)> {
        let rows = rows([instance].into_iter(), sort, filter, true);
        let ids = rows.iter().map(Row::id);
        ids.map(|id| (id.worker, id.thread)).collect()
    }

    #[test]
    fn workers_come_in_the_order_asked_for_and_threads_below_them() {
        let instance = instance();
        let all = [(1, None), (1, Some(1)), (2, None), (3, None)];
        assert_eq!(ids(&instance, BY_ID, ""), all);
        let by_requests = Sort {
            column: Column::Requests,
            descending: true,
        };
        let most_first = [(2, None), (1, None), (1, Some(1)), (3, None)];
        assert_eq!(ids(&instance, by_requests, ""), most_first);
        let by_time = Sort {
            column: Column::Time,
            descending: true,
        };
        assert_eq!(ids(&instance, by_time, "")[0], (2, None));
    }

    #[test]
    fn a_filter_looks_at_all_cells_in_either_case() {
        let instance = instance();
        assert_eq!(ids(&instance, BY_ID, "SLOW"), [(2, None)]);
        assert_eq!(ids(&instance, BY_ID, "boot"), [(3, None)]);
        assert_eq!(ids(&instance, BY_ID, "/a"), [(1, None), (1, Some(1))]);
        assert_eq!(ids(&instance, BY_ID, "nothing"), []);
    }

    #[test]
    fn each_column_can_decide() {
        let mut sort = BY_ID;
        let mut seen = Vec::new();
        for _ in Column::ALL {
            sort = sort.moved(1);
            seen.push(sort.column);
        }
        assert_eq!(sort.column, Column::Id);
        assert_eq!(seen.len(), Column::ALL.len());
        assert_eq!(BY_ID.moved(-1).column, Column::Instance);
        assert!(BY_ID.moved(5).descending && !BY_ID.moved(3).descending);
        let instance = instance();
        for column in Column::ALL {
            let sort = Sort {
                column: *column,
                descending: true,
            };
            assert_eq!(ids(&instance, sort, "").len(), 4);
        }
    }

    #[test]
    fn a_narrow_table_has_room_for_the_request() {
        let narrow = Column::shown(80, true);
        let taken: u16 = narrow.iter().map(|column| column.width() + 1).sum();
        assert!(taken <= 81, "{taken}");
        assert!(!Column::shown(120, false).contains(&Column::Instance));
        assert!(Column::shown(120, false).contains(&Column::Age));
    }
}
