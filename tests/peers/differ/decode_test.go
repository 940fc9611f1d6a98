// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// decodeV1 and decodeV2 say what Prometheus makes of a message.
func decodeV1(b []byte) (string, map[int]bool, error) {
	var m prompb.WriteRequest
	if err := m.Unmarshal(b); err != nil {
		return "", nil, err
	}
	return linesV1(&m), nil, nil
}

func decodeV2(b []byte) (string, map[int]bool, error) {
	var m writev2.Request
	if err := m.Unmarshal(b); err != nil {
		return "", nil, err
	}
	text, wrong := linesV2(&m)
	return text, wrong, nil
}

func TestDecode(t *testing.T) {
	for version, decode := range map[byte]func([]byte) (string, map[int]bool, error){1: decodeV1, 2: decodeV2} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			o, r := startOurs(t), newRandom()
			g := &generator{r: r}
			var last []byte
			accepted, refused := 0, 0
			for range *cases {
				valid := g.write(version == 2)
				spoiled := mutate(r, valid, last)
				last = valid
				for _, b := range [][]byte{valid, spoiled} {
					want, wrong, err := decode(b)
					got, failure := o.askOutcome('d', []byte{version}, b)
					switch {
					case (err == nil) != (failure == ""):
						t.Fatalf("%x\nPrometheus: %v\nours: %q", b, err, failure)
					case err != nil:
						refused++
					case without(string(got), wrong) != without(want, wrong):
						t.Fatalf("%x\nPrometheus:\n%s\nours:\n%s", b, want, got)
					default:
						accepted++
					}
				}
			}
			if accepted < *cases || refused < *cases/10 {
				t.Errorf("messages that tell nothing: %d accepted, %d refused", accepted, refused)
			}
		})
	}
}

// Before 2.0-rc.4, field 6 of a series was its created timestamp: Prometheus passes over it, we hand it
// on as the start of every sample and histogram that has none [W-44].
func TestCreatedTimestamp(t *testing.T) {
	o := startOurs(t)
	histogram := message{one(15, 9)}
	b := message{str(4, ""), sub(5, message{one(6, 77),
		sub(2, message{one(2, 1)}), sub(2, message{one(2, 2), one(3, 5)}), sub(3, histogram)})}.encode(nil, style{})
	want, _, err := decodeV2(b)
	if err != nil {
		t.Fatal(err)
	}
	want = strings.Replace(want, "sample 1 0 0", "sample 1 0 77", 1)
	want = strings.Replace(want, "histogram 9 0 ", "histogram 9 77 ", 1)
	if got, failure := o.askOutcome('d', []byte{2}, b); string(got) != want || failure != "" {
		t.Errorf("want\n%s\ngot %s\n%s", want, failure, got)
	}
}
