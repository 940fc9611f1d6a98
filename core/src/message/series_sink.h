/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_SERIES_SINK_H
#define PRA_MESSAGE_SERIES_SINK_H

#include <stdatomic.h>

#include "base/buffer.h"
#include "pra.h"

/* What the sinks of one answer may still take together; several threads may take at the same time.
 */
typedef struct pra__read_budget {
    atomic_uint_fast64_t samples;
    atomic_uint_fast64_t bytes;
    uint64_t max_samples;
    uint64_t max_bytes;
} pra__read_budget;

/* limits must be resolved. */
void pra__read_budget_init(pra__read_budget *budget, const pra_limits *limits);

/* A sink that is started anew for each query. Free with pra_series_sink_free. */
int pra__series_sink_make(const pra_alloc *alloc, pra_series_sink **out);
/* Empties it; budget is borrowed until the next start. */
void pra__series_sink_start(pra_series_sink *sink, int64_t start_ms, int64_t end_ms,
                            pra__read_budget *budget);
/* Bytes of memory it holds, itself included. */
size_t pra__series_sink_memory(const pra_series_sink *sink);
/* The first limit or allocation that was hit, PRA_OK if none: the series here are not all that were
 * added. */
int pra__series_sink_failure(const pra_series_sink *sink, pra_error *err);
/* The series as fields of a QueryResult. */
const pra_buffer *pra__series_sink_bytes(const pra_series_sink *sink);

#endif
