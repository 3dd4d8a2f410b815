package main

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trueup-io/trueup/rollout/follow"
)

// apiInstruments measure what "trueup serve" answers. Labels are routes and codes, never a flag,
// a key or who asks.
type apiInstruments struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	streams  prometheus.Gauge
	known    *knownAge
}

// apiInstrumented are all of them, in the order of docs/metrics.md.
var apiInstrumented = []instrument{
	{"trueup_api_requests_total", "Requests that were answered, by route and status code. What is no route is other.", "counter", []string{"route", "code"}, nil},
	{"trueup_api_request_duration_seconds", "From when a request came to when it was answered, by route; streams are not in it.", "histogram", []string{"route"}, shortSpans},
	{"trueup_api_streams", "Streams of events that are open.", "gauge", nil, nil},
	{"trueup_api_known_age_seconds", "How old what is served is: beyond the lease flags are at their safe stage. Absent before anything is known.", "gauge", nil, nil},
}

// streamRoute is the route whose answer goes on until the client leaves.
const streamRoute = "GET /ofrep/v1/events"

func newAPIInstruments(follower *follow.Follower) *apiInstruments {
	at := map[string]instrument{}
	for _, i := range apiInstrumented {
		at[i.name] = i
	}
	counted, timed, open := at["trueup_api_requests_total"], at["trueup_api_request_duration_seconds"], at["trueup_api_streams"]
	m := &apiInstruments{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: counted.name, Help: counted.help}, counted.labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: timed.name, Help: timed.help, Buckets: timed.buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}, timed.labels),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: open.name, Help: open.help}),
	}
	age := at["trueup_api_known_age_seconds"]
	m.known = &knownAge{follower, prometheus.NewDesc(age.name, age.help, age.labels, nil)}
	return m
}

// knownAge is how old what is served is.
type knownAge struct {
	follower *follow.Follower
	desc     *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (k *knownAge) Describe(to chan<- *prometheus.Desc) { to <- k.desc }

// Collect implements prometheus.Collector.
func (k *knownAge) Collect(to chan<- prometheus.Metric) {
	if age, ever := k.follower.Age(time.Now()); ever {
		to <- prometheus.MustNewConstMetric(k.desc, prometheus.GaugeValue, age.Seconds())
	}
}

// collectors are what is registered.
func (m *apiInstruments) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.streams, m.known}
}

// measured counts and times what a handler answers. The route is the pattern that matched,
// so that there are as many as the server has.
func (m *apiInstruments) measured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		answer := &counted{ResponseWriter: w}
		answer.begun = func(code int) {
			m.requests.WithLabelValues(routeOf(r), strconv.Itoa(code)).Inc()
			if answer.stream = routeOf(r) == streamRoute && code == http.StatusOK; answer.stream {
				m.streams.Inc()
			}
		}
		defer func() {
			switch {
			case answer.stream:
				m.streams.Dec()
				return
			case answer.code == 0: // nothing was written: the server answers 200
				answer.begin(http.StatusOK)
			}
			m.duration.WithLabelValues(routeOf(r)).Observe(time.Since(began).Seconds())
		}()
		next.ServeHTTP(answer, r)
	})
}

// routeOf is the pattern that a request has matched.
func routeOf(r *http.Request) string {
	if r.Pattern == "" || r.Pattern == "/" || r.Pattern == "/v1/" {
		return "other"
	}
	return r.Pattern
}

// counted is an answer whose status code is noted.
type counted struct {
	http.ResponseWriter
	begun  func(code int)
	code   int
	stream bool
}

func (c *counted) begin(code int) {
	if c.code == 0 {
		c.code = code
		c.begun(code)
	}
}

// WriteHeader implements http.ResponseWriter.
func (c *counted) WriteHeader(code int) {
	c.begin(code)
	c.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (c *counted) Write(b []byte) (int, error) {
	c.begin(http.StatusOK)
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
