//! What people write.

use super::Seeds;

/// Seeds of all targets here.
pub fn seeds() -> Vec<Seeds> {
    let of = |texts: &[&str]| texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    vec![
        ("promql", of(EXPRESSIONS)),
        ("promql_evaluate", of(EVALUATED)),
        ("promqltest", of(&[SCRIPT])),
        ("template", of(TEMPLATES)),
        ("matcher", of(MATCHERS)),
        ("rule_file", of(&[RULES])),
        ("objstore_config", of(OBJSTORES)),
        ("openmetrics", of(&[OPENMETRICS])),
        ("alertmanager_url", of(&["http://user:secret@127.0.0.1:9093/am/", "https://[::1]:9093", "dns+x:1"])),
    ]
}

const EXPRESSIONS: &[&str] = &[
    "sum by (job, le) (rate(http_requests_total{job=~\"a|b\",code!=\"500\"}[5m] offset -1h)) > bool 0.5e-3",
    "histogram_quantile(0.9, {\"my.metric\", \"l.a\"='v'}[1h30m:10s] @ end()) and on (a) group_left (b) c",
    "-(a ^ -2 ^ 0x1F) % atan2(b, c) unless ignoring (x) d # comment",
    "topk(3, count_values without (i) (\"v\", m)) or vector(NaN) == +Inf",
    "rate(foo[5m*2+step()]) fill(0) info(x, {data=~\".+\"}) smoothed",
];

/// Over the series that the target loads.
const EVALUATED: &[&str] = &[
    "sum by (a) (rate(f_total[1m]))",
    "histogram_quantile(0.5, rate(h[1m]))",
    "f_total{a=\"x\"} * on (b) group_left f_total",
    "max_over_time(f_total[1m:10s] offset 30s) @ 100",
    "label_replace(up, \"x\", \"$1\", \"job\", \"(.*)\") or absent(nothing)",
    "info(up, {data=~\".+\"})",
    "histogram_quantile(0.9, c_bucket)",
];

const SCRIPT: &str = "load 5m\n  a{b=\"c\"} 0+10x3 _x2 stale {{schema:1 count:3 sum:5 buckets:[1 2]}} NaN\n\n\
eval instant at 10m sum(a)\n  expect no_warn\n  {} 20\n\neval range from 0 to 10m step 5m a\n  a{b=\"c\"} 0 10 20\n\n\
eval_fail instant at 1m a +\n  expected_fail_regexp .*\n\nclear\n";

const TEMPLATES: &[&str] = &[
    "{{ $labels.job }} is {{ $value | humanize }} {{ printf \"%05.2f %q %x\" 1.5 \"a\\n\" 255 }}",
    "{{ range $i, $v := args 1 2 }}{{ if gt $v 1 }}{{ $i }}{{ else if eq $v 1 }}one{{ end }}{{ break }}{{ end }}",
    "{{ define \"x\" }}{{ . }}{{ end }}{{ template \"x\" 3 }}{{ with query \"up\" }}{{ . | first | value }}{{ end }}",
    "{{- /* c */ -}} {{ reReplaceAll \"(a)\" \"$1$1\" \"aa\" | toUpper | title }} {{ 0x1p-2 }} {{ 'a' }} {{ nil }}",
    "{{ humanizeTimestamp 1.5 }} {{ humanizeDuration 3723.4 }} {{ parseDuration \"1h\" }} {{ $externalLabels }}",
];

const MATCHERS: &[&str] = &[
    "a|b|c\0b",
    "(?i)foo.*[a-z\\d]+(bar|baz)?\0FOOx1",
    ".+",
    "prefix-(?:one|two)-[0-9]{1,3}\0prefix-two-17",
    "^a$|\\Qx.y\\E",
];

const RULES: &str = r#"groups:
- name: g
  interval: 1m
  query_offset: 5s
  limit: 10
  partial_response_strategy: warn
  labels: {team: a}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
    labels: {source: "x"}
  - alert: Down
    expr: |
      up == 0
    for: 5m
    keep_firing_for: 1m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.instance }} is {{ $value }}"}
"#;

const OBJSTORES: &[&str] = &[
    "type: FILESYSTEM\nconfig: {directory: /data}\nprefix: a/b\n",
    "type: S3\nconfig:\n  bucket: b\n  endpoint: s3.eu-west-1.amazonaws.com\n  region: eu-west-1\n  access_key: k\n  \
secret_key: s\n  insecure: false\n  signature_version2: false\n  bucket_lookup_type: path\n  part_size: 67108864\n  \
put_user_metadata: {a: b}\n  http_config: {idle_conn_timeout: 90s, insecure_skip_verify: true}\n  sse_config: \
{type: SSE-C, encryption_key: /key}\n  list_objects_version: v2\n",
    "type: GCS\nconfig: {bucket: b}\n",
];

const OPENMETRICS: &str = "# HELP a_total Things \\\"counted\\\".\n# TYPE a counter\n# UNIT a seconds\n\
a_total{b=\"c\",d=\"e\\n\\\"\\\\\"} 1.5e3 1700000000.123 # {trace_id=\"x\"} 0.5 1\n\
{\"utf.8\",\"l x\"=\"1\"} NaN 1700000001\nb 0x10 -1\nb +Inf 2\n# EOF\n";
