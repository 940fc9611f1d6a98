/* SPDX-License-Identifier: Apache-2.0 */
/* A storage that does nothing worth a figure, and who asks its server. */
#ifndef PRA_BENCH_SERVING_H
#define PRA_BENCH_SERVING_H

#include "bench.h"

enum { BENCH_SERIES = 2000, BENCH_SAMPLES = 240 }; /* that it answers with */

/* write looks at the columns; select and fetch give BENCH_SERIES x BENCH_SAMPLES. self is unused.
 */
extern const pra_storage_vtbl bench_storage_entries;

/* A snappy block: all of time, without matchers. */
bench_bytes bench_read_request(int32_t response_type);

/* CPU time of the whole process. */
double bench_process_us(void);

/* The same write again and again over some connections. */
typedef struct bench_load {
    uint16_t port;
    bench_bytes body;
    unsigned connections;
    double seconds; /* in: how long; out: how long it was */
    /* out */
    size_t requests;
    double client_us; /* CPU time of those who ask */
} bench_load;
void bench_load_run(bench_load *load);

#endif
