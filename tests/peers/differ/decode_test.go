// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
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
