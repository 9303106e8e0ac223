// Command generate expands each template of its standard input with Prometheus' own expander and prints the line
// again with the result: see ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
)

const preamble = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"

type row struct {
	Text   string            `json:"text"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  string            `json:"value,omitempty"`
	Output *string           `json:"output,omitempty"`
	Error  *string           `json:"error,omitempty"`
	// Kept as they are: what cairn gives instead, and why.
	Differs *string `json:"differs,omitempty"`
	Cairn   *string `json:"cairn,omitempty"`
}

func vector(_ context.Context, q string, _ time.Time) (promql.Vector, error) {
	if q == "broken" {
		return nil, errors.New("query failed")
	}
	if strings.HasPrefix(q, "empty") {
		return promql.Vector{}, nil
	}
	return promql.Vector{
		{Metric: labels.FromStrings("__name__", q, "instance", "b:80", "job", "x"), F: 11.5},
		{Metric: labels.FromStrings("__name__", q, "instance", "a:80", "__value__", "str"), F: 21},
	}, nil
}

func main() {
	u, _ := url.Parse("http://testhost:9090/path/prefix")
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for in.Scan() {
		if len(strings.TrimSpace(in.Text())) == 0 {
			continue
		}
		var r row
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err, in.Text())
			os.Exit(1)
		}
		r.Output, r.Error = nil, nil
		l := r.Labels
		if l == nil {
			l = map[string]string{"alertname": "Down", "instance": "localhost:9100", "job": "node"}
		}
		v := 1234567.0
		if r.Value != "" {
			v, _ = strconv.ParseFloat(r.Value, 64)
		}
		data := template.AlertTemplateData(l, map[string]string{"cluster": "eu1"}, u.String(), promql.Sample{F: v})
		e := template.NewTemplateExpander(context.Background(), preamble+r.Text, "__alert_T", data, model.Time(1435065584128), vector, u, nil)
		s, err := e.Expand()
		if err != nil {
			m := err.Error()
			r.Error = &m
		} else {
			r.Output = &s
		}
		enc.Encode(r)
	}
}
