"""Reads results as Arrow with pyarrow and DuckDB and holds them against the JSON of the same query.

Arguments: address of a cairn that has the demo data, and the second of its last scrape.
"""

import json
import sys
import urllib.parse
import urllib.request

import duckdb
import pyarrow as pa

ADDRESS, END_S = sys.argv[1], int(sys.argv[2])
ARROW = "application/vnd.apache.arrow.stream"


def ask(path, parameters, accept):
    form = urllib.parse.urlencode(parameters).encode()
    request = urllib.request.Request(f"http://{ADDRESS}{path}", data=form, headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.headers["Content-Type"], answer.read()


def json_rows(data):
    for series in data["result"]:
        labels = tuple(sorted(series["metric"].items()))
        points = series["values"] if "values" in series else [series["value"]]
        for t, value in points:
            yield labels, round(t * 1000), float(value)


def arrow_rows(table):
    for row in table.to_pylist():
        sample = {name: row.pop(name) for name in list(row) if name in ("__timestamp__", "__value__")}
        labels = tuple(sorted((name, value) for name, value in row.items() if value is not None))
        yield labels, round(sample["__timestamp__"].timestamp() * 1000), sample["__value__"]


def compare(path, parameters):
    _, text = ask(path, parameters, "application/json")
    data = json.loads(text)["data"]
    kind, stream = ask(path, parameters, ARROW)
    assert kind == ARROW, kind
    table = pa.ipc.open_stream(stream).read_all()
    assert table.schema.metadata[b"resultType"].decode() == data["resultType"]
    wanted, got = sorted(json_rows(data)), sorted(arrow_rows(table))
    assert wanted == got, f"{parameters}: {len(wanted)} rows as JSON, {len(got)} as Arrow"
    total = sum(value for _, _, value in wanted)
    [summed] = duckdb.sql('select sum("__value__"), count(*) from "table"').fetchall()
    assert summed[1] == len(wanted) and abs(summed[0] - total) <= 1e-9 * abs(total), (summed, total)
    return table, len(wanted), len(text), len(stream)


times = {"start": END_S - 3600, "end": END_S, "step": 15}
query = "sum by (instance, mode) (rate(demo_cpu_usage_seconds_total[5m]))"
table, rows, json_bytes, arrow_bytes = compare("/api/v1/query_range", {"query": query, **times})
by_mode = duckdb.sql('select mode, max("__value__") from "table" group by mode order by mode').fetchall()
assert len(by_mode) > 1 and all(mode for mode, _ in by_mode), by_mode
compare("/api/v1/query", {"query": "demo_memory_usage_bytes", "time": END_S})
print(f"{rows} rows equal; JSON {json_bytes} bytes, Arrow {arrow_bytes} bytes")
