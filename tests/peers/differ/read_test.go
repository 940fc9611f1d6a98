// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// readServer passes what a client asks on to our handler.
type readServer struct {
	o      *ours
	asked  byte   // 0: the storage pushes, 1: it is asked
	budget uint32 // of a frame
	data   []byte // a 2.0 message: what is stored
	sent   string // content type of the last answer
}

func (s *readServer) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	budget := binary.LittleEndian.AppendUint32(nil, s.budget)
	reply := s.o.ask('r', []byte{s.asked}, budget, part(string(s.data)), body)
	head, rest, _ := bytes.Cut(reply, []byte("\n\n"))
	status := 0
	for line := range strings.Lines(string(head)) {
		kind, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "status":
			status, _ = strconv.Atoi(text)
		case "header":
			name, value, _ := strings.Cut(text, " ")
			w.Header().Set(name, value)
		}
	}
	s.sent = w.Header().Get("Content-Type")
	w.WriteHeader(status)
	w.Write(rest)
}

func readClient(t *testing.T, address string, accept ...prompb.ReadRequest_ResponseType) remote.ReadClient {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	client, err := remote.NewReadClient("differ", &remote.ClientConfig{
		URL: &config_util.URL{URL: u}, Timeout: model.Duration(time.Minute), ChunkedReadLimit: 1 << 26,
		AcceptedResponseTypes: accept,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// readAll is what a client has read: series by series, those of several frames joined.
func readAll(t *testing.T, client remote.ReadClient, q *prompb.Query) map[string][]sample {
	t.Helper()
	set, err := client.Read(context.Background(), q, false)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]sample{}
	var it chunkenc.Iterator
	for set.Next() {
		key := set.At().Labels().String()
		it = set.At().Iterator(it)
		found[key] = append(found[key], samplesOf(t, it)...)
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return found
}

func samplesOf(t *testing.T, it chunkenc.Iterator) (all []sample) {
	t.Helper()
	for {
		switch it.Next() {
		case chunkenc.ValNone:
			if it.Err() != nil {
				t.Fatal(it.Err())
			}
			return all
		case chunkenc.ValFloat:
			at, v := it.At()
			all = append(all, sample{t: at, v: v})
		case chunkenc.ValHistogram:
			at, h := it.AtHistogram(nil)
			all = append(all, sample{t: at, h: h.Copy()})
		case chunkenc.ValFloatHistogram:
			at, h := it.AtFloatHistogram(nil)
			all = append(all, sample{t: at, fh: h.Copy()})
		}
	}
}

// randomStored makes series of floats, of histograms, and of both.
func randomStored(r *rand.Rand) (all []series) {
	for i := range 1 + r.IntN(5) {
		s := series{labels: []string{"__name__", pick(r, "up", "latency", "z"), "i", strconv.Itoa(i)}}
		switch r.IntN(4) {
		case 0:
			s.samples = randomHistograms(r, 1+r.IntN(150), chance(r, 50))
		case 1: // one kind after the other
			s.samples = randomFloats(r, 1+r.IntN(30))
			last := s.samples[len(s.samples)-1].t
			for _, next := range randomHistograms(r, 1+r.IntN(30), chance(r, 50)) {
				if next.t > last {
					s.samples = append(s.samples, next)
				}
			}
		default:
			s.samples = randomFloats(r, 1+r.IntN(400))
		}
		all = append(all, s)
	}
	return all
}

func randomQuery(r *rand.Rand, all []series) *prompb.Query {
	within := all[r.IntN(len(all))].samples
	from, to := within[r.IntN(len(within))].t, within[r.IntN(len(within))].t
	q := &prompb.Query{StartTimestampMs: min(from, to) - r.Int64N(2), EndTimestampMs: max(from, to) + r.Int64N(2)}
	if chance(r, 50) {
		q.StartTimestampMs, q.EndTimestampMs = 0, 1<<60
	}
	q.Matchers = []*prompb.LabelMatcher{pick(r,
		&prompb.LabelMatcher{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: ".+"},
		&prompb.LabelMatcher{Type: prompb.LabelMatcher_EQ, Name: "__name__", Value: "up"},
		&prompb.LabelMatcher{Type: prompb.LabelMatcher_NEQ, Name: "i", Value: "0"},
		&prompb.LabelMatcher{Type: prompb.LabelMatcher_NRE, Name: "__name__", Value: "u.|z"})}
	return q
}

// matching is what a query should find.
func matching(t *testing.T, all []series, q *prompb.Query) map[string][]sample {
	matchers, err := remote.FromLabelMatchers(q.Matchers)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]sample{}
	for _, s := range all {
		ls := labels.FromStrings(s.labels...)
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) }) {
			for _, one := range s.samples {
				if one.t >= q.StartTimestampMs && one.t <= q.EndTimestampMs {
					found[ls.String()] = append(found[ls.String()], one)
				}
			}
		}
	}
	return found
}

func TestReadByPrometheus(t *testing.T) {
	types := map[prompb.ReadRequest_ResponseType]string{
		prompb.ReadRequest_SAMPLES:             "application/x-protobuf",
		prompb.ReadRequest_STREAMED_XOR_CHUNKS: "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse",
	}
	for accept, contentType := range types {
		for asked := range byte(2) {
			t.Run(fmt.Sprintf("%s by %d", accept, asked), func(t *testing.T) {
				r, s := newRandom(), &readServer{o: startOurs(t), asked: asked}
				server := httptest.NewServer(s)
				defer server.Close()
				client := readClient(t, server.URL, accept)
				answers := 0
				for range *cases / 20 {
					all := randomStored(r)
					s.data, s.budget = writeAll(all), pick(r, uint32(1), 500, 5000, 1<<20)
					q := randomQuery(r, all)
					want, got := matching(t, all, q), readAll(t, client, q)
					if s.sent != contentType {
						t.Fatalf("%s instead of %s", s.sent, contentType)
					}
					if len(want) != len(got) {
						t.Fatalf("%d series instead of %d: %v", len(got), len(want), q)
					}
					for key, samples := range want {
						compareSamples(t, samples, got[key])
						answers++
					}
				}
				if answers < *cases/40 {
					t.Errorf("only %d series were found", answers)
				}
			})
		}
	}
}
