//! A small monitoring stack: two Prometheus send what they scrape, cairn answers as they do, its rules record and
//! alert, and Alertmanager hears of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::answers::{Server, instant, range, same};
use crate::http::{api, get};
use crate::process::{Cairn, Process, free_port, wait_for};
use crate::{now, peer};

const TEST: &str = "e2e monitoring";

/// How long a step of the stack may take: programs start, scrape every second, and send within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asked of cairn and of the Prometheus that sent; each must have a series.
const QUERIES: &[&str] = &[
    "up",
    "count by (job) (up)",
    "sum by (job) (rate(process_cpu_seconds_total[10s]))",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[15s])))",
    "avg_over_time(go_goroutines[10s])",
    "topk(3, node_filesystem_size_bytes)",
    "node_memory_MemAvailable_bytes / on (instance) node_memory_MemTotal_bytes",
    "max_over_time(rate(prometheus_http_requests_total[5s])[15s:5s])",
    "increase(node_cpu_seconds_total{mode=~\"user|system\"}[10s] offset 2s)",
    "count({__name__=~\"go_.+\", job!=\"nothing\"}) by (job) > bool 5",
];

/// Asked of the old sender and of cairn. Without range selectors: those were closed on the left before Prometheus 3, so
/// there the old one is no oracle.
const QUERIES_BEFORE_3: &[&str] = &[
    "up",
    "count by (job) (up)",
    "sum by (job) (process_cpu_seconds_total)",
    "histogram_quantile(0.9, sum by (le) (prometheus_http_request_duration_seconds_bucket))",
    "go_goroutines offset 3s",
    "topk(3, node_filesystem_size_bytes)",
    "node_memory_MemAvailable_bytes / on (instance) node_memory_MemTotal_bytes",
    "quantile by (mode) (0.5, node_cpu_seconds_total)",
    "node_cpu_seconds_total{mode=~\"user|system\"} unless on (cpu) node_cpu_seconds_total{cpu=\"0\"} or up",
    "count by (job) ({__name__=~\"go_.+\", job!=\"nothing\"}) > bool 5",
];

const RULES: &str = r#"
groups:
  - name: e2e
    interval: 1s
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {source: e2e}
      - alert: NodeDown
        expr: up{job="node"} == 0
        for: 1s
        labels: {severity: page}
        annotations: {summary: "{{ $labels.instance }} is {{ $value }}"}
"#;

struct Stack {
    dir: PathBuf,
    node_port: u16,
    node_exporter: PathBuf,
}

impl Stack {
    fn start_node(&self) -> Result<Process> {
        let address = format!("--web.listen-address=127.0.0.1:{}", self.node_port);
        Process::quiet("node_exporter", &self.dir, Command::new(&self.node_exporter).arg(address))
    }

    /// A Prometheus that scrapes itself and node_exporter every second and sends to `write_url`.
    fn start_prometheus(&self, name: &str, binary: &Path, remote_write: &str) -> Result<(Process, String)> {
        let port = free_port()?;
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - {{job_name: prometheus, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n\
             - {{job_name: node, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}\n\
             remote_write:\n{remote_write}",
            self.node_port
        );
        let file = self.dir.join(format!("{name}.yml"));
        std::fs::write(&file, config)?;
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(binary);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", self.dir.join(format!("{name}-data")).display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::quiet(name, &self.dir, &mut command)?;
        wait_for("Prometheus to be ready", PATIENCE, || {
            let (status, _) = get(&address, "/-/ready", &[])?;
            ensure!(status == 200, "status {status}");
            Ok(())
        })?;
        Ok((process, address))
    }
}

#[test]
fn cairn_answers_records_and_alerts_for_two_real_senders() -> Result<()> {
    let Some(prometheus) = peer(TEST, "prometheus/prometheus") else { return Ok(()) };
    let Some(old_prometheus) = peer(TEST, "prometheus-2.42/prometheus") else { return Ok(()) };
    let Some(alertmanager) = peer(TEST, "alertmanager") else { return Ok(()) };
    let Some(node_exporter) = peer(TEST, "node_exporter") else { return Ok(()) };
    let temp = tempfile::tempdir()?;
    let stack = Stack { dir: temp.path().to_owned(), node_port: free_port()?, node_exporter };
    let node = stack.start_node()?;
    let (_am, am_address) = start_alertmanager(&stack.dir, &alertmanager)?;
    let rules = stack.dir.join("rules.yml");
    std::fs::write(&rules, RULES)?;
    let cairn = Cairn::start(
        &stack.dir,
        &stack.dir.join("data"),
        &[
            &format!("--rule-file={}", rules.display()),
            &format!("--alertmanagers.url=http://{am_address}"),
            "--resend-delay=1s",
            "--self-monitoring.disable",
        ],
    )?;
    let url = |path: &str| format!("http://{}{path}", cairn.write);
    // Debian's 2.42 does not send the headers it is given, so it writes to the default tenant, which is also the rules'.
    let v2 = format!(
        "- {{url: '{}', protobuf_message: io.prometheus.write.v2.Request, headers: {{THANOS-TENANT: new}}}}\n",
        url("/api/v1/write")
    );
    let v1 = format!("- {{url: '{}'}}\n", url("/api/v1/receive"));
    let (_p3, p3_address) = stack.start_prometheus("prometheus", &prometheus, &v2)?;
    let (_p2, p2_address) = stack.start_prometheus("prometheus-2.42", &old_prometheus, &v1)?;

    for (sender, tenant, queries) in
        [(&p3_address, "new", QUERIES), (&p2_address, "default-tenant", QUERIES_BEFORE_3)]
    {
        let compared = compare_queries(sender, &cairn.http, tenant, queries)?;
        println!("{tenant}: {} queries equal, {compared} points compared", queries.len());
    }
    a_recording_rule_appears(&cairn.http)?;
    an_alert_fires_and_resolves(&stack, node, &am_address)?;
    ensure!(cairn.process.terminate(PATIENCE)? == 0, "cairn must end well after SIGTERM");
    Ok(())
}

fn start_alertmanager(dir: &Path, binary: &Path) -> Result<(Process, String)> {
    let address = format!("127.0.0.1:{}", free_port()?);
    let config = dir.join("alertmanager.yml");
    std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n")?;
    // Debian's build opens its default template below /usr/share and ends without it. In a mount namespace of its own
    // the package's folder stands there, and nothing is installed.
    let share = binary.ancestors().nth(2).context("a peer lies in <folder>/bin")?.join("root/usr/share");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /usr/share && exec \"$@\"")
        .arg(share)
        .arg(binary)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", dir.join("alertmanager-data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--cluster.listen-address=");
    let process = Process::quiet("alertmanager", dir, &mut command)?;
    wait_for("Alertmanager to be ready", PATIENCE, || {
        ensure!(get(&address, "/-/ready", &[])?.0 == 200, "not ready");
        Ok(())
    })?;
    Ok((process, address))
}

/// Waits until cairn has what the sender had at one moment, then compares all queries at that moment.
fn compare_queries(sender: &str, cairn: &str, tenant: &str, queries: &[&str]) -> Result<usize> {
    let oracle = Server { address: sender, headers: &[] };
    let headers = [("THANOS-TENANT", tenant)];
    let cairn = Server { address: cairn, headers: &headers };
    wait_for("20 s of scrapes at the sender", PATIENCE, || {
        let n = instant(&oracle, "count_over_time(up{job=\"node\"}[1m])", now())?;
        ensure!(n.values().any(|p| p[0].1 >= 20.0), "only {n:?}");
        Ok(())
    })?;
    let at = now().floor();
    // Sent when the newest scrapes of both jobs after `at` have arrived.
    wait_for("the samples at cairn", PATIENCE, || {
        let newest = instant(&cairn, "min(timestamp(up))", now())?;
        ensure!(newest.values().next().context("no up")?[0].1 > at + 1.0, "{newest:?}");
        Ok(())
    })?;
    let mut compared = 0;
    for query in queries {
        compared += same(query, &instant(&oracle, query, at)?, &instant(&cairn, query, at)?)?;
        let (start, end) = (at - 10.0, at);
        compared +=
            same(query, &range(&oracle, query, start, end, 2.0)?, &range(&cairn, query, start, end, 2.0)?)?;
    }
    Ok(compared)
}

fn a_recording_rule_appears(cairn: &str) -> Result<()> {
    let server = Server { address: cairn, headers: &[("THANOS-TENANT", "default-tenant")] };
    wait_for("the recorded series", PATIENCE, || {
        let got = instant(&server, "job:up:sum{source=\"e2e\", job=\"node\"}", now())?;
        ensure!(got.values().any(|p| p[0].1 == 1.0), "{got:?}");
        Ok(())
    })?;
    let groups = api(cairn, "/api/v1/rules", &[])?;
    let rules = groups["groups"][0]["rules"].as_array().context("no rules")?;
    ensure!(rules.len() == 2 && rules.iter().all(|r| r["health"] == "ok"), "{rules:#?}");
    Ok(())
}

fn an_alert_fires_and_resolves(stack: &Stack, node: Process, alertmanager: &str) -> Result<()> {
    let firing = || -> Result<bool> {
        // Alertmanager's own API answers a bare list, not Prometheus' envelope.
        let (status, body) = get(alertmanager, "/api/v2/alerts?active=true", &[])?;
        ensure!(status == 200, "status {status}");
        let alerts: serde_json::Value = serde_json::from_str(&body)?;
        let alerts = alerts.as_array().context("a list")?;
        let mine = alerts.iter().find(|a| a["labels"]["alertname"] == "NodeDown");
        if let Some(alert) = mine {
            let summary = format!("127.0.0.1:{} is 0", stack.node_port);
            ensure!(alert["annotations"]["summary"] == summary.as_str(), "{alert}");
            ensure!(alert["labels"]["severity"] == "page", "{alert}");
        }
        Ok(mine.is_some())
    };
    ensure!(!firing()?, "nothing is down yet");
    node.kill()?;
    wait_for("the alert at Alertmanager", PATIENCE, || {
        ensure!(firing()?, "no alert");
        Ok(())
    })?;
    let _node = stack.start_node()?;
    wait_for("the alert to resolve", PATIENCE, || {
        ensure!(!firing()?, "still firing");
        Ok(())
    })
}
