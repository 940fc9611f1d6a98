// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
)

const (
	typeV1 = "application/x-protobuf;proto=prometheus.WriteRequest"
	typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

var contentTypes = []string{
	"", "application/x-protobuf", typeV1, typeV2, "application/json", "text/plain", "application/x-protobuf;proto=unknown",
	"application/x-protobuf;charset=utf-8", typeV2 + ";q=1", "application/x-protobuf;a=b;proto=io.prometheus.write.v2.Request",
	"application/x-protobuf; proto=io.prometheus.write.v2.Request", "application/x-protobuf ;proto=io.prometheus.write.v2.Request",
	" " + typeV2 + " ", "APPLICATION/X-Protobuf;proto=io.prometheus.write.v2.Request",
	"application/x-protobuf;PROTO=io.prometheus.write.v2.Request", `application/x-protobuf;proto="io.prometheus.write.v2.Request"`,
	"application/x-protobuf;proto", "application/x-protobuf;", "application/x-protobuf;proto=a=b", "application/x-protobufx",
	"application/vnd.google.protobuf", "application/x-protobuf;proto=", ";", "application/x-protobuf;charset=a=b",
}

var (
	contentEncodings = []string{"", "snappy", "Snappy", "gzip", "zstd", "identity", "snappy, gzip"}
	methods          = []string{"POST", "GET", "PUT"}
)

// headerDifferences are the ways in which we answer on purpose otherwise, by the first that fits.
var headerDifferences = []struct {
	name, why string
	is        func(method, contentType, encoding, body string, prometheus, ours *answer) bool
	used      int
}{
	{
		name: "order of checks",
		why: "W-13: Prometheus uncompresses before it looks at the method and the content type: what is wrong twice gets " +
			"415 or 400 from it where 2.0 wants 415 for the type (and its compliance suite checks that); we go by the headers first.",
		is: func(method, _, encoding, body string, prometheus, ours *answer) bool {
			return ours.status == 405 && method != "POST" || ours.status == 415 && prometheus.status == 400 && (body == "not snappy" || body == "nothing")
		},
	},
	{
		name: "parameters by RFC 9110",
		why: "W-05: spaces around ';', names and types in any case, values in quotes. Prometheus reads such 2.0 requests as " +
			"1.0 (and loses them with 204), or refuses them.",
		is: func(_, contentType, _, _ string, _, _ *answer) bool {
			return strings.Contains(strings.ToLower(contentType), "proto") && contentType != strings.ToLower(contentType) ||
				strings.ContainsAny(contentType, `" `) || strings.HasSuffix(contentType, ";") || contentType == "application/x-protobuf;charset=a=b"
		},
	},
	{
		name: "codings in any case",
		why:  "W-02: RFC 9110 compares content codings without regard to case.",
		is: func(_, _, encoding, _ string, prometheus, ours *answer) bool {
			return encoding == "Snappy" && prometheus.status == 415 && ours.status != 415
		},
	},
}

func TestHeaders(t *testing.T) {
	o := startOurs(t)
	bodies := map[string][]byte{"not snappy": []byte("\xff\xff\xff\xff\xff"), "not protobuf": snappy.Encode(nil, []byte{0xff}),
		"nothing": {}, "empty message": snappy.Encode(nil, nil)}
	samples := sub(2, message{fixed(1, 1), one(2, 1)})
	bodies["1.0"] = snappy.Encode(nil, message{sub(1, append(message{samples}, labelFields([]string{"__name__", "up"})...))}.encode(nil, style{}))
	bodies["2.0"] = snappy.Encode(nil, message{str(4, ""), str(4, "__name__"), str(4, "up"),
		sub(5, message{many(1, varints, []uint64{1, 2}), samples})}.encode(nil, style{}))
	statuses := map[int]int{}
	for _, method := range methods {
		for _, contentType := range contentTypes {
			for _, encoding := range contentEncodings {
				for name, body := range bodies {
					q := request{method, http.Header{}, body}
					if contentType != "" {
						q.headers.Set("Content-Type", contentType)
					}
					if encoding != "" {
						q.headers.Set("Content-Encoding", encoding)
					}
					prometheus, ours := prometheusReceives(q), o.receive(q)
					statuses[ours.status]++
					same := prometheus.status == ours.status && prometheus.counts == ours.counts && len(ours.difference(prometheus)) == 0
					if !same && !headerListed(method, contentType, encoding, name, prometheus, ours) {
						t.Errorf("%s %q %q, body %s: Prometheus %d %q (%s), ours %d %q (%s)", method, contentType, encoding, name,
							prometheus.status, strings.TrimSpace(prometheus.message), prometheus.counts, ours.status, ours.message, ours.counts)
					}
				}
			}
		}
	}
	t.Log("statuses: ", statuses)
	for _, d := range headerDifferences {
		t.Logf("%5d × %s: %s", d.used, d.name, d.why)
		if d.used == 0 {
			t.Errorf("the difference %q does not exist", d.name)
		}
	}
}

func headerListed(method, contentType, encoding, body string, prometheus, ours *answer) bool {
	for i := range headerDifferences {
		d := &headerDifferences[i]
		if d.is(method, contentType, encoding, body, prometheus, ours) {
			d.used++
			return true
		}
	}
	return false
}

// A request of which a part is refused says in its headers exactly what was kept.
func TestPartialWrite(t *testing.T) {
	o := startOurs(t)
	m := message{}
	for _, s := range []string{"", "__name__", "up", "\xff"} {
		m = append(m, str(4, s))
	}
	for _, refs := range [][]uint64{{1, 2}, {1, 3}, {1, 9}, {1}, {1, 2}} {
		m = append(m, sub(5, message{many(1, varints, refs), sub(2, message{fixed(1, 1), one(2, 1)})}))
	}
	q := writeRequest(typeV2, snappy.Encode(nil, m.encode(nil, style{})))
	for name, a := range map[string]*answer{"Prometheus": prometheusReceives(q), "ours": o.receive(q)} {
		if got := fmt.Sprint(a.status, " ", a.counts); got != "400 2 0 0" {
			t.Errorf("%s: %s %s", name, got, a.message)
		}
	}
}
