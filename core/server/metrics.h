/* SPDX-License-Identifier: Apache-2.0 */
/* What the server counts, and its text for /metrics. */
#ifndef PRA_SERVER_METRICS_H
#define PRA_SERVER_METRICS_H

#include "pra.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PRA__ENDPOINTS = 3, PRA__BUCKETS = 12, PRA__OUTCOMES = 64 };

/* Counters of one endpoint. */
typedef struct pra__endpoint_metrics {
    uint64_t buckets[PRA__BUCKETS]; /* not cumulative */
    uint64_t count;
    double seconds;
    uint64_t request_bytes, decoded_bytes, response_bytes;
    uint64_t series, samples, histograms, exemplars, metadata;
} pra__endpoint_metrics;

typedef struct pra__metrics {
    pthread_mutex_t lock; /* everything that is not atomic */
    pra__endpoint_metrics endpoints[PRA__ENDPOINTS];
    uint64_t failed_samples, failed_series, queries;
    struct {
        int32_t endpoint, version, code;
        uint64_t count;
    } requests[PRA__OUTCOMES]; /* the last one takes what finds no place */
    struct {
        const char *reason;
        uint64_t count;
    } refused[PRA__OUTCOMES];
    atomic_uint_fast64_t connections, accepted, evicted, workers_busy, reads, read_queries,
        streamed_bytes, pending_bytes, pending_answer_bytes;
} pra__metrics;

void pra__metrics_request(pra__metrics *m, const pra_exchange_stats *stats, double seconds);
/* A request that was refused; reason is a static string. */
void pra__metrics_refused(pra__metrics *m, const char *reason);

/* Both append text; 0 or PRA_ERR_NOMEM. */
int pra__metrics_write(pra__metrics *m, uint32_t workers, pra_buffer *out);
int pra__process_metrics_write(pra_buffer *out);
/* File descriptors of this process; 0 if that cannot be found out. */
unsigned pra__open_files(void);

/* Appends printf text. */
int pra__print(pra_buffer *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
