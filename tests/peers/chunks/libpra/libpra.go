// SPDX-License-Identifier: Apache-2.0

// Package libpra calls the library's functions for chunks. Series go in and out as WriteRequest
// messages of one series. CGO_CFLAGS and CGO_LDFLAGS say where pra.h and libpra.so are.
package libpra

/*
#cgo LDFLAGS: -lpra
#include <pra.h>
#include <stdlib.h>

// cgo cannot pass structs that have pointers to Go memory; what is behind these is C's.
static int decode_message(pra_write_request *req, const void *data, size_t len, pra_columns *c)
{
    int rc = pra_write_request_decode(req, PRA_WRITE_V1, data, len, NULL, NULL);
    c->size = sizeof *c;
    return rc ? rc : pra_write_request_columns(req, c);
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// A Chunk as it goes over the wire.
type Chunk struct {
	Type int32
	Data []byte
}

func check(rc C.int) {
	if rc != 0 {
		panic(C.GoString(C.pra_strerror(C.int32_t(rc))))
	}
}

func buffer() *C.pra_buffer {
	var out *C.pra_buffer
	check(C.pra_buffer_new(nil, &out))
	return out
}

func bytes(b *C.pra_buffer) []byte {
	return C.GoBytes(C.pra_buffer_data(b), C.int(C.pra_buffer_len(b)))
}

// EncodeSamples makes one chunk.
func EncodeSamples(timestamps []int64, values []float64) []byte {
	out := buffer()
	defer C.pra_buffer_free(out)
	check(C.pra_chunk_encode_samples((*C.int64_t)(unsafe.Pointer(&timestamps[0])),
		(*C.double)(unsafe.Pointer(&values[0])), C.size_t(len(timestamps)), out))
	return bytes(out)
}

// EncodeHistograms makes as many chunks as the histograms of a message take.
func EncodeHistograms(message []byte) []Chunk {
	var req *C.pra_write_request
	check(C.pra_write_request_new(nil, &req))
	defer C.pra_write_request_free(req)
	out := buffer()
	defer C.pra_buffer_free(out)
	data := C.CBytes(message)
	defer C.free(data)
	c := (*C.pra_columns)(C.calloc(1, C.sizeof_pra_columns))
	defer C.free(unsafe.Pointer(c))
	check(C.decode_message(req, data, C.size_t(len(message)), c))
	var chunks []Chunk
	for at := C.size_t(0); at < c.histogram_count; {
		var taken C.size_t
		var kind C.int32_t
		C.pra_buffer_reset(out)
		check(C.pra_chunk_encode_histograms(c, at, c.histogram_count-at, &taken, &kind, out))
		chunks = append(chunks, Chunk{int32(kind), bytes(out)})
		at += taken
	}
	return chunks
}

// Decode gives what is in a chunk as a message of remote write 2.0.
func Decode(chunk Chunk) ([]byte, error) {
	var req *C.pra_write_request
	check(C.pra_write_request_new(nil, &req))
	defer C.pra_write_request_free(req)
	out := buffer()
	defer C.pra_buffer_free(out)
	check(C.pra_write_request_add_series(req, nil, 0))
	data := C.CBytes(chunk.Data)
	defer C.free(data)
	var err C.pra_error
	if C.pra_chunk_decode(C.int32_t(chunk.Type), data, C.size_t(len(chunk.Data)), req, nil, &err) != 0 {
		return nil, errors.New(C.GoString(&err.message[0]))
	}
	check(C.pra_write_request_encode(req, C.PRA_WRITE_V2, out, nil))
	return bytes(out), nil
}
