// SPDX-License-Identifier: Apache-2.0

// Package differ compares what our library makes of bytes with what Prometheus' own packages make
// of them, over random messages. `./dev test-peers` runs it; by hand:
//
//	PRA_PEERS_OURS=build/asan/tests/peers/peers_ours go test ./differ -cases=100000 -seed=7
package differ

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var (
	cases = flag.Int("cases", 4000, "random messages per test")
	seed  = flag.Uint64("seed", 1, "of the random messages")
)

// ours is a running tests/peers/ours.c.
type ours struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

func startOurs(t testing.TB) *ours {
	program := os.Getenv("PRA_PEERS_OURS")
	if program == "" {
		t.Fatal("PRA_PEERS_OURS does not say where the program peers_ours is; ./dev test-peers does")
	}
	cmd := exec.Command(program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error("peers_ours: ", err)
		}
	})
	return &ours{t: t, in: in, out: bufio.NewReader(out)}
}

// ask puts a question: what is asked, then its parts one after the other.
func (o *ours) ask(what byte, parts ...[]byte) []byte {
	message := []byte{0, 0, 0, 0, what}
	for _, part := range parts {
		message = append(message, part...)
	}
	binary.LittleEndian.PutUint32(message, uint32(len(message)-4))
	if _, err := o.in.Write(message); err != nil {
		o.t.Fatal("peers_ours is gone: ", err)
	}
	var head [4]byte
	if _, err := io.ReadFull(o.out, head[:]); err != nil {
		o.t.Fatal("peers_ours is gone: ", err)
	}
	reply := make([]byte, binary.LittleEndian.Uint32(head[:]))
	if _, err := io.ReadFull(o.out, reply); err != nil {
		o.t.Fatal("peers_ours is gone: ", err)
	}
	return reply
}

// askOutcome splits what becomes of a call from what follows it; the error is empty if it went well.
func (o *ours) askOutcome(what byte, parts ...[]byte) (rest []byte, failure string) {
	first, rest, _ := bytes.Cut(o.ask(what, parts...), []byte("\n"))
	return rest, strings.TrimPrefix(strings.TrimPrefix(string(first), "ok"), "error ")
}

// part is b with its length before it.
func part(b string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(*seed, 0)) }
