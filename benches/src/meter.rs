//! Processor time and memory of processes, from `/proc`.

use std::fs;
use std::time::Instant;

/// Whose processor time is counted.
#[derive(Clone, Default)]
pub struct Meter {
    /// The services, or the yardstick in their place.
    pub services: Vec<u32>,
    /// PostgreSQL's first process; all of the cluster's are counted.
    pub postmaster: Option<u32>,
    pub redis: Option<u32>,
    /// The load generator when it is a process of its own; else the thread that reads the meter is.
    pub client: Option<u32>,
}

/// Seconds of processor time since some beginning.
#[derive(Clone, Copy)]
pub struct Reading {
    pub at: Instant,
    pub service: f64,
    pub database: f64,
    pub client: f64,
    /// Of the whole machine, whoever used it.
    pub machine: f64,
}

impl Meter {
    pub fn read(&self) -> Reading {
        let sum = |pids: &[u32]| pids.iter().map(|pid| own(&stat(&format!("/proc/{pid}/stat")))).sum::<f64>();
        let client = match self.client {
            Some(pid) => own(&stat(&format!("/proc/{pid}/stat"))),
            None => own(&stat("/proc/thread-self/stat")),
        };
        let database = self.postmaster.map_or(0.0, cluster) + self.redis.map_or(0.0, |pid| sum(&[pid]));
        Reading { at: Instant::now(), service: sum(&self.services), database, client, machine: machine() }
    }

    /// The services' memory.
    pub fn memory(&self) -> Memory {
        self.services.iter().map(|pid| memory(*pid)).fold(Memory::default(), |sum, one| Memory {
            anonymous: sum.anonymous + one.anonymous,
            resident: sum.resident + one.resident,
        })
    }
}

/// Memory of processes, in bytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// What is not a file's.
    pub anonymous: u64,
    /// All that is there, the binary and mapped files included.
    pub resident: u64,
}

impl Memory {
    /// The greater of each.
    pub fn most(self, other: Memory) -> Memory {
        Memory { anonymous: self.anonymous.max(other.anonymous), resident: self.resident.max(other.resident) }
    }
}

pub fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    Memory { anonymous: bytes("RssAnon:"), resident: bytes("VmRSS:") }
}

/// The fields from the third on: what stands in front holds the name, which may hold anything.
fn stat(path: &str) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').map(|field| field.parse().unwrap_or(0)).collect()
}

/// `USER_HZ`, which is 100 wherever Linux runs this.
const TICKS: f64 = 100.0;

fn own(stat: &[u64]) -> f64 {
    ticks(stat, &[11, 12])
}

fn ticks(stat: &[u64], fields: &[usize]) -> f64 {
    fields.iter().filter_map(|field| stat.get(*field)).sum::<u64>() as f64 / TICKS
}

/// The postmaster with its children, those that have ended included.
fn cluster(postmaster: u32) -> f64 {
    let mut sum = ticks(&stat(&format!("/proc/{postmaster}/stat")), &[11, 12, 13, 14]);
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap_or_default();
    for child in children.split_whitespace() {
        sum += own(&stat(&format!("/proc/{child}/stat")));
    }
    sum
}

/// Everything but idling and waiting for disks.
fn machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        text.lines().next().unwrap_or("").split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
    ticks(&fields, &[0, 1, 2, 5, 6, 7])
}
