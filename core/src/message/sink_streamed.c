/* SPDX-License-Identifier: Apache-2.0 */
#include "message/sink_streamed.h"

void pra__streamed_init(struct pra__streamed *s, const pra_alloc *alloc)
{
    s->open = PRA__NO_CHUNK;
    pra__histogram_chunk_init(&s->histograms, alloc);
}

void pra__streamed_fini(struct pra__streamed *s)
{
    pra__histogram_chunk_fini(&s->histograms);
}

size_t pra__streamed_memory(const struct pra__streamed *s)
{
    return pra__histogram_chunk_memory(&s->histograms);
}

void pra__streamed_begin(struct pra__streamed *s, pra_buffer *out, int64_t query_index,
                         uint64_t max_frame_bytes, const pra_buffer *labels)
{
    s->open = PRA__NO_CHUNK;
    pra__histogram_chunk_begin(&s->histograms);
    pra__stream_frames_begin(&s->frames, out, query_index, max_frame_bytes, labels->data,
                             labels->len);
}

/* Errors of pra__stream_frames_chunk. */
static int close_chunk(struct pra__streamed *s)
{
    const enum pra__open_chunk open = s->open;
    s->open = PRA__NO_CHUNK;
    if (open == PRA__FLOATS) {
        size_t len = pra__xor_chunk_end(&s->floats);
        return pra__stream_frames_chunk(&s->frames, PRA_CHUNK_XOR, s->floats.min_ms,
                                        s->floats.max_ms, s->floats.data, len);
    }
    struct pra__histogram_chunk *h = &s->histograms;
    size_t len = pra__histogram_chunk_end(h);
    return pra__stream_frames_chunk(&s->frames, h->type, h->min_ms, h->max_ms, h->data.data, len);
}

int pra__streamed_samples(struct pra__streamed *s, const int64_t *timestamps_ms,
                          const double *values, size_t count, size_t *taken)
{
    int rc = PRA_OK;
    *taken = 0;
    if (s->open == PRA__HISTOGRAMS)
        rc = close_chunk(s);
    while (*taken < count && rc == PRA_OK) {
        if (s->open == PRA__NO_CHUNK)
            pra__xor_chunk_begin(&s->floats);
        s->open = PRA__FLOATS;
        *taken += pra__xor_chunk_append(&s->floats, timestamps_ms + *taken, values + *taken,
                                        count - *taken);
        if (*taken < count)
            rc = close_chunk(s);
    }
    return rc;
}

int pra__streamed_histograms(struct pra__streamed *s, const pra_columns *columns, size_t start,
                             size_t count, size_t *taken)
{
    int rc = PRA_OK;
    *taken = 0;
    if (s->open == PRA__FLOATS) {
        rc = close_chunk(s);
        pra__histogram_chunk_begin(&s->histograms);
    }
    while (*taken < count && rc == PRA_OK) {
        size_t more = 0;
        rc = pra__histogram_chunk_append(&s->histograms, columns, start + *taken, count - *taken,
                                         &more);
        *taken += more;
        s->open = s->histograms.count ? PRA__HISTOGRAMS : PRA__NO_CHUNK;
        if (rc == PRA_OK && *taken < count)
            rc = close_chunk(s);
    }
    return rc;
}

int pra__streamed_end(struct pra__streamed *s)
{
    int rc = s->open == PRA__NO_CHUNK ? PRA_OK : close_chunk(s);
    pra__stream_frames_end(&s->frames);
    return rc == PRA_DONE ? PRA_OK : rc;
}

/* ---- a whole series */

static int all_samples(struct pra__streamed *s, const int64_t *timestamps_ms, const double *values,
                       size_t count)
{
    int rc = PRA_DONE;
    for (size_t at = 0, taken; at < count && rc >= 0; at += taken)
        rc = pra__streamed_samples(s, timestamps_ms + at, values + at, count - at, &taken);
    return rc < 0 ? rc : PRA_OK;
}

static int one_histogram(struct pra__streamed *s, const pra_columns *columns, size_t index)
{
    size_t taken = 0;
    int rc = PRA_DONE;
    while (taken == 0 && rc >= 0)
        rc = pra__streamed_histograms(s, columns, index, 1, &taken);
    return rc < 0 ? rc : PRA_OK;
}

/* Index of the first of count times that is not below t, from start on. */
static size_t run_until(const int64_t *timestamps_ms, size_t start, size_t count, int64_t t)
{
    while (start < count && timestamps_ms[start] < t)
        start++;
    return start;
}

int pra__streamed_write(struct pra__streamed *s, const int64_t *timestamps_ms, const double *values,
                        size_t count, const struct pra__pending *p)
{
    pra_columns c = {.size = sizeof(c)};
    size_t at = 0;
    int rc = PRA_OK;
    if (p->held_count)
        pra__pending_columns(p, &c);
    for (size_t i = 0; i < p->held_count && rc == PRA_OK; i++) {
        size_t end = run_until(timestamps_ms, at, count, p->held[i].timestamp_ms);
        rc = all_samples(s, timestamps_ms + at, values + at, end - at);
        at = end;
        if (rc == PRA_OK)
            rc = one_histogram(s, &c, p->held[i].index);
    }
    if (rc == PRA_OK)
        rc = all_samples(s, timestamps_ms + at, values + at, count - at);
    int end = pra__streamed_end(s);
    return rc ? rc : end;
}
