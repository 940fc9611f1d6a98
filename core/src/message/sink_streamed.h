/* SPDX-License-Identifier: Apache-2.0 */
/* A series of a streamed answer: data, in order of time, into chunks, and those into frames. */
#ifndef PRA_MESSAGE_SINK_STREAMED_H
#define PRA_MESSAGE_SINK_STREAMED_H

#include "message/chunk_histogram.h"
#include "message/chunk_xor.h"
#include "message/sink_pending.h"
#include "message/stream_frame.h"

enum pra__open_chunk { PRA__NO_CHUNK, PRA__FLOATS, PRA__HISTOGRAMS };

struct pra__streamed {
    struct pra__stream_frames frames;
    enum pra__open_chunk open;
    struct pra__xor_chunk floats;
    struct pra__histogram_chunk histograms;
};

void pra__streamed_init(struct pra__streamed *s, const pra_alloc *alloc);
void pra__streamed_fini(struct pra__streamed *s);
size_t pra__streamed_memory(const struct pra__streamed *s);

/* Begins a series; as pra__stream_frames_begin. */
void pra__streamed_begin(struct pra__streamed *s, pra_buffer *out, int64_t query_index,
                         uint64_t max_frame_bytes, const pra_buffer *labels);
/* Take data of it. Return PRA_OK: all is taken; PRA_DONE: a frame is complete, and *taken says how
 * much was taken, the rest is to be handed in again; PRA_ERR_NOMEM; PRA_ERR_HISTOGRAM. */
int pra__streamed_samples(struct pra__streamed *s, const int64_t *timestamps_ms,
                          const double *values, size_t count, size_t *taken);
int pra__streamed_histograms(struct pra__streamed *s, const pra_columns *columns, size_t start,
                             size_t count, size_t *taken);
/* Ends the series and its last frame. Returns PRA_OK or PRA_ERR_NOMEM. */
int pra__streamed_end(struct pra__streamed *s);

/* A whole series: these samples, and the histograms that wait in p, merged. Returns PRA_OK or what
 * failed. */
int pra__streamed_write(struct pra__streamed *s, const int64_t *timestamps_ms, const double *values,
                        size_t count, const struct pra__pending *p);

#endif
