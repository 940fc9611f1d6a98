/* SPDX-License-Identifier: Apache-2.0 */
/* What benchmarks in other languages call: inputs, the C side of what is compared, and the client
 * of servers. One of each kind, for one thread; what fails ends the process. */
#ifndef PRA_BENCH_NATIVE_H
#define PRA_BENCH_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#define SHOWN __attribute__((visibility("default")))

/* Returns the length of *out, which lives as long as the process. */
SHOWN size_t native_write_request(size_t series_count, int32_t version, char **out);
SHOWN size_t native_read_request(int32_t response_type, char **out);

/* Decoding alone, into a warm request. */
SHOWN void native_decode(const char *block, size_t len, int32_t version);
/* The same into a request of its own, which is freed. */
SHOWN void native_decode_new(const char *block, size_t len, int32_t version);
/* Decodes, relabels by the rules in native.c, encodes: *out is the block, valid until the next
 * call.
 */
SHOWN size_t native_filter(const char *block, size_t len, int32_t version, const char **out);
/* An exchange with the storage of serving.h; *out is its answer, valid until the next call. */
SHOWN int native_exchange(const char *target, const char *content_type, const char *body,
                          size_t len, const char **out, size_t *out_len);

/* Starts the server; returns its port. */
SHOWN uint16_t native_serve(void);
/* result: requests, seconds, CPU time of the client in us. */
SHOWN void native_load(uint16_t port, char *body, size_t len, unsigned connections, double seconds,
                       double result[3]);

#endif
