//! What one instance exposes: 500 series of a host exporter, an HTTP service and a runtime, as a table.
//!
//! Parts in order: `FAMILIES` (names × dimensions × shape) → [`templates`], one entry a series of an instance.
//! The mix, counters that move, counters that rest, gauges, constants and histogram buckets, follows what a scraped host
//! really sends, so that label sharing, compression and chunk sizes are those of production.

/// Series that one instance exposes.
pub const SERIES_PER_INSTANCE: usize = 500;

/// How a series' value changes from round to round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A counter that grows about `per_step` a round, rounded to `quantum`; one in `resting` series never moves.
    Counter { per_step: f64, quantum: f64, resting: u64 },
    /// Wanders within `spread` around `base`, rounded to `quantum`.
    Gauge { base: f64, spread: f64, quantum: f64 },
    /// Never changes.
    Constant(f64),
    /// A part of a request-duration histogram; parts of one route are consistent with one another.
    Requests(Part),
}

/// Which series of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// The cumulative bucket at this position of [`BOUNDS`].
    Bucket(usize),
    /// `_count`, equal to the last bucket.
    Count,
    /// `_sum`.
    Sum,
}

/// Upper bounds of the request-duration buckets.
pub const BOUNDS: &[&str] =
    &["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];

/// Share of requests at or below each bound.
pub const SHARE_BELOW: &[f64] = &[0.11, 0.29, 0.52, 0.71, 0.84, 0.93, 0.97, 0.99, 0.996, 0.999, 0.9995, 1.0];

struct Family {
    names: &'static [&'static str],
    dimensions: &'static [(&'static str, &'static [&'static str])],
    shape: Shape,
}

/// One series of an instance: its name, the labels of its own, its shape, and the route it counts for.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Metric name.
    pub name: &'static str,
    /// Labels beside those which every series of the instance has.
    pub labels: Vec<(&'static str, &'static str)>,
    /// How its value moves.
    pub shape: Shape,
    /// Series of one histogram share a group and thereby their random numbers.
    pub group: u64,
}

const CPUS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];
const MODES: &[&str] = &["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
const DISKS: &[&str] = &["nvme0n1", "nvme1n1", "nvme2n1", "nvme3n1", "dm-0", "dm-1"];
const LINKS: &[&str] = &["bond0", "cilium_host", "docker0", "eth0", "eth1", "lo"];
const MOUNTS: &[&str] = &["/", "/boot/efi", "/run", "/var/lib/containerd", "/var/lib/kubelet", "/var/log"];
const ROUTES: &[&str] =
    &["/api/v1/cart", "/api/v1/checkout", "/api/v1/orders", "/api/v1/products/:id", "/api/v1/users"];
const CODES: &[&str] = &["200", "304", "404", "500"];

const FAMILIES: &[Family] = &[
    Family {
        names: &["node_cpu_seconds_total"],
        dimensions: &[("cpu", CPUS), ("mode", MODES)],
        shape: Shape::Counter { per_step: 1.9, quantum: 0.01, resting: 4 },
    },
    Family {
        names: &[
            "node_disk_read_bytes_total",
            "node_disk_reads_completed_total",
            "node_disk_reads_merged_total",
            "node_disk_writes_completed_total",
            "node_disk_writes_merged_total",
            "node_disk_written_bytes_total",
        ],
        dimensions: &[("device", DISKS)],
        shape: Shape::Counter { per_step: 40_960.0, quantum: 1.0, resting: 3 },
    },
    Family {
        names: &[
            "node_disk_io_time_seconds_total",
            "node_disk_read_time_seconds_total",
            "node_disk_write_time_seconds_total",
        ],
        dimensions: &[("device", DISKS)],
        shape: Shape::Counter { per_step: 0.4, quantum: 0.001, resting: 3 },
    },
    Family {
        names: &[
            "node_network_receive_bytes_total",
            "node_network_receive_drop_total",
            "node_network_receive_errs_total",
            "node_network_receive_packets_total",
            "node_network_transmit_bytes_total",
            "node_network_transmit_drop_total",
            "node_network_transmit_errs_total",
            "node_network_transmit_packets_total",
        ],
        dimensions: &[("device", LINKS)],
        shape: Shape::Counter { per_step: 18_000.0, quantum: 1.0, resting: 2 },
    },
    Family {
        names: &["node_network_mtu_bytes", "node_network_speed_bytes", "node_network_up"],
        dimensions: &[("device", LINKS)],
        shape: Shape::Constant(1_500.0),
    },
    Family {
        names: &["node_filesystem_avail_bytes", "node_filesystem_files_free", "node_filesystem_free_bytes"],
        dimensions: &[("mountpoint", MOUNTS)],
        shape: Shape::Gauge { base: 8.0e10, spread: 4.0e6, quantum: 4_096.0 },
    },
    Family {
        names: &["node_filesystem_files", "node_filesystem_readonly", "node_filesystem_size_bytes"],
        dimensions: &[("mountpoint", MOUNTS)],
        shape: Shape::Constant(1.05e8),
    },
    Family {
        names: &[
            "node_memory_Active_anon_bytes",
            "node_memory_Active_bytes",
            "node_memory_Active_file_bytes",
            "node_memory_AnonPages_bytes",
            "node_memory_Buffers_bytes",
            "node_memory_Cached_bytes",
            "node_memory_Committed_AS_bytes",
            "node_memory_Dirty_bytes",
            "node_memory_Inactive_bytes",
            "node_memory_KernelStack_bytes",
            "node_memory_Mapped_bytes",
            "node_memory_MemAvailable_bytes",
            "node_memory_MemFree_bytes",
            "node_memory_PageTables_bytes",
            "node_memory_SReclaimable_bytes",
            "node_memory_Shmem_bytes",
            "node_memory_Slab_bytes",
            "node_memory_Writeback_bytes",
        ],
        dimensions: &[],
        shape: Shape::Gauge { base: 6.0e9, spread: 3.0e7, quantum: 4_096.0 },
    },
    Family {
        names: &[
            "node_memory_CommitLimit_bytes",
            "node_memory_HugePages_Total",
            "node_memory_Hugepagesize_bytes",
            "node_memory_MemTotal_bytes",
            "node_memory_SwapFree_bytes",
            "node_memory_SwapTotal_bytes",
            "node_memory_VmallocTotal_bytes",
        ],
        dimensions: &[],
        shape: Shape::Constant(6.7e10),
    },
    Family {
        names: &[
            "node_netstat_Icmp_InErrors",
            "node_netstat_Icmp_InMsgs",
            "node_netstat_Icmp_OutMsgs",
            "node_netstat_IpExt_InOctets",
            "node_netstat_IpExt_OutOctets",
            "node_netstat_TcpExt_ListenDrops",
            "node_netstat_TcpExt_ListenOverflows",
            "node_netstat_TcpExt_TCPSynRetrans",
            "node_netstat_TcpExt_TCPTimeouts",
            "node_netstat_Tcp_ActiveOpens",
            "node_netstat_Tcp_InErrs",
            "node_netstat_Tcp_InSegs",
            "node_netstat_Tcp_OutRsts",
            "node_netstat_Tcp_OutSegs",
            "node_netstat_Tcp_PassiveOpens",
            "node_netstat_Tcp_RetransSegs",
            "node_netstat_Udp_InDatagrams",
            "node_netstat_Udp_InErrors",
            "node_netstat_Udp_NoPorts",
            "node_netstat_Udp_OutDatagrams",
            "node_vmstat_oom_kill",
            "node_vmstat_pgfault",
            "node_vmstat_pgmajfault",
            "node_vmstat_pgpgin",
            "node_vmstat_pgpgout",
            "node_vmstat_pswpin",
            "node_vmstat_pswpout",
        ],
        dimensions: &[],
        shape: Shape::Counter { per_step: 900.0, quantum: 1.0, resting: 3 },
    },
    Family {
        names: &["node_load1", "node_load15", "node_load5"],
        dimensions: &[],
        shape: Shape::Gauge { base: 3.2, spread: 1.1, quantum: 0.01 },
    },
    Family {
        names: &["node_context_switches_total", "node_forks_total", "node_intr_total"],
        dimensions: &[],
        shape: Shape::Counter { per_step: 120_000.0, quantum: 1.0, resting: 1_000 },
    },
    Family {
        names: &[
            "node_procs_blocked",
            "node_procs_running",
            "node_sockstat_TCP_alloc",
            "node_sockstat_TCP_inuse",
        ],
        dimensions: &[],
        shape: Shape::Gauge { base: 40.0, spread: 9.0, quantum: 1.0 },
    },
    Family {
        names: &["node_boot_time_seconds", "process_start_time_seconds", "up"],
        dimensions: &[],
        shape: Shape::Constant(1.0),
    },
    Family {
        names: &["http_requests_total"],
        dimensions: &[("code", CODES), ("route", ROUTES)],
        shape: Shape::Counter { per_step: 210.0, quantum: 1.0, resting: 5 },
    },
    Family {
        names: &["http_request_duration_seconds_bucket"],
        dimensions: &[("route", ROUTES), ("le", BOUNDS)],
        shape: Shape::Requests(Part::Bucket(0)),
    },
    Family {
        names: &["http_request_duration_seconds_count"],
        dimensions: &[("route", ROUTES)],
        shape: Shape::Requests(Part::Count),
    },
    Family {
        names: &["http_request_duration_seconds_sum"],
        dimensions: &[("route", ROUTES)],
        shape: Shape::Requests(Part::Sum),
    },
    Family {
        names: &["http_requests_in_flight"],
        dimensions: &[("route", ROUTES)],
        shape: Shape::Gauge { base: 12.0, spread: 8.0, quantum: 1.0 },
    },
    Family {
        names: &["go_gc_duration_seconds"],
        dimensions: &[("quantile", &["0", "0.25", "0.5", "0.75", "1"])],
        shape: Shape::Gauge { base: 0.000_12, spread: 0.000_1, quantum: 1.0e-9 },
    },
    Family {
        names: &[
            "go_gc_duration_seconds_count",
            "go_memstats_alloc_bytes_total",
            "go_memstats_frees_total",
            "go_memstats_mallocs_total",
            "process_cpu_seconds_total",
            "process_network_receive_bytes_total",
            "process_network_transmit_bytes_total",
        ],
        dimensions: &[],
        shape: Shape::Counter { per_step: 5_200.0, quantum: 1.0, resting: 1_000 },
    },
    Family {
        names: &[
            "go_goroutines",
            "go_memstats_alloc_bytes",
            "go_memstats_heap_alloc_bytes",
            "go_memstats_heap_idle_bytes",
            "go_memstats_heap_inuse_bytes",
            "go_memstats_heap_objects",
            "go_memstats_heap_released_bytes",
            "go_memstats_last_gc_time_seconds",
            "go_memstats_next_gc_bytes",
            "go_memstats_stack_inuse_bytes",
            "go_threads",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
        ],
        dimensions: &[],
        shape: Shape::Gauge { base: 7.0e7, spread: 9.0e5, quantum: 8.0 },
    },
    Family {
        names: &[
            "go_gomaxprocs_threads",
            "go_memstats_buck_hash_sys_bytes",
            "go_memstats_gc_sys_bytes",
            "go_memstats_mcache_sys_bytes",
            "process_max_fds",
        ],
        dimensions: &[],
        shape: Shape::Constant(15_600.0),
    },
    Family {
        names: &[
            "scrape_duration_seconds",
            "scrape_samples_post_metric_relabeling",
            "scrape_samples_scraped",
            "scrape_series_added",
        ],
        dimensions: &[],
        shape: Shape::Gauge { base: 0.02, spread: 0.01, quantum: 1.0e-6 },
    },
];

/// Entries which must be added so that an instance has exactly [`SERIES_PER_INSTANCE`] series: one per hardware sensor.
const SENSOR: &str = "node_hwmon_temp_celsius";

/// The series of one instance in the order a scrape exposes them.
pub fn templates() -> Vec<Template> {
    let mut all = Vec::with_capacity(SERIES_PER_INSTANCE);
    for family in FAMILIES {
        for name in family.names {
            expand(name, family, &mut all);
        }
    }
    assert!(all.len() <= SERIES_PER_INSTANCE, "the families alone are {} series", all.len());
    let sensors = SERIES_PER_INSTANCE - all.len();
    assert!(sensors <= SENSOR_NAMES.len(), "{sensors} sensors are wanted, {} have names", SENSOR_NAMES.len());
    let shape = Shape::Gauge { base: 48.0, spread: 6.0, quantum: 0.5 };
    all.extend(SENSOR_NAMES[..sensors].iter().map(|sensor| Template {
        name: SENSOR,
        labels: vec![("sensor", sensor)],
        shape,
        group: 0,
    }));
    all
}

const SENSOR_NAMES: &[&str] = &[
    "temp1", "temp2", "temp3", "temp4", "temp5", "temp6", "temp7", "temp8", "temp9", "temp10", "temp11",
    "temp12", "temp13", "temp14", "temp15", "temp16", "temp17", "temp18", "temp19", "temp20", "temp21",
    "temp22", "temp23", "temp24", "temp25", "temp26", "temp27", "temp28", "temp29", "temp30", "temp31",
    "temp32",
];

/// The cross product of the family's dimensions, the last one running fastest.
fn expand(name: &'static str, family: &Family, all: &mut Vec<Template>) {
    let total: usize = family.dimensions.iter().map(|(_, values)| values.len()).product();
    for index in 0..total {
        let mut rest = index;
        let mut labels = Vec::with_capacity(family.dimensions.len());
        let mut shape = family.shape;
        let mut group = 0;
        for (label, values) in family.dimensions.iter().rev() {
            let position = rest % values.len();
            rest /= values.len();
            labels.push((*label, values[position]));
            match (shape, *label) {
                (Shape::Requests(Part::Bucket(_)), "le") => shape = Shape::Requests(Part::Bucket(position)),
                (Shape::Requests(_), "route") => group = position as u64 + 1,
                _ => {}
            }
        }
        all.push(Template { name, labels, shape, group });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_instance_has_five_hundred_distinct_series() {
        let all = templates();
        assert_eq!(all.len(), SERIES_PER_INSTANCE);
        let distinct: BTreeSet<_> = all.iter().map(|t| (t.name, t.labels.clone())).collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all.iter().filter(|t| t.name == "node_cpu_seconds_total").count(), 128);
        assert_eq!(all.iter().filter(|t| t.name.ends_with("_bucket")).count(), 60);
    }

    #[test]
    fn every_bound_has_a_share_and_shares_grow_to_one() {
        assert_eq!(BOUNDS.len(), SHARE_BELOW.len());
        assert!(SHARE_BELOW.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(SHARE_BELOW.last(), Some(&1.0));
    }
}
