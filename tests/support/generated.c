/* SPDX-License-Identifier: Apache-2.0 */
#include "support/generated.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(holds)                                                                               \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #holds);                      \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static int is_histogram(const struct generated_series *s, size_t i)
{
    return s->histogram_every && (i + 1) % s->histogram_every == 0;
}

static int64_t time_of(const struct generated_series *s, size_t i)
{
    return s->first_ms + (int64_t)i * s->step_ms;
}

/* One histogram of three buckets in two spans. */
static int push_histogram(const struct generated_series *s, size_t id, size_t i,
                          pra_series_sink *sink, pra_error *err)
{
    static const pra_bucket_span spans[] = {{0, 2}, {3, 1}};
    const int64_t deltas[] = {1, (int64_t)(i % 7), -1};
    const uint32_t offsets[] = {0, 1};
    const pra_histogram h = {.timestamp_ms = time_of(s, i),
                             .count_bits = 1 + (1 + i % 7) + (i % 7),
                             .sum = (double)(id * 1000 + i % 100),
                             .zero_threshold = 0.001,
                             .schema = 3,
                             .positive_spans = {0, 2},
                             .positive_deltas = {0, 3}};
    const pra_columns columns = {.size = sizeof(columns),
                                 .series_count = 1,
                                 .histogram_offsets = offsets,
                                 .histograms = &h,
                                 .histogram_count = 1,
                                 .bucket_spans = spans,
                                 .bucket_span_count = 2,
                                 .positive_deltas = deltas,
                                 .positive_delta_count = 3};
    return pra_series_sink_histograms(sink, &columns, 0, 1, err);
}

enum { MOST_BATCH = 1000 };

/* Samples from i on, up to the next histogram or the end. Returns how many. */
static size_t fill(const struct generated *g, size_t id, size_t i, int64_t *timestamps_ms,
                   double *values)
{
    const struct generated_series *s = &g->series[id];
    size_t most = g->batch ? g->batch : 100;
    size_t n = 0;
    CHECK(most <= MOST_BATCH);
    while (n < most && i + n < s->count && !is_histogram(s, i + n)) {
        timestamps_ms[n] = time_of(s, i + n);
        values[n] = (double)(id * 1000 + (i + n) % 100);
        n++;
    }
    if (g->disorder && n > 1) {
        int64_t first = timestamps_ms[0];
        timestamps_ms[0] = timestamps_ms[1];
        timestamps_ms[1] = first;
    }
    return n;
}

static int push(struct generated *g, size_t id, size_t i, pra_series_sink *sink, pra_error *err)
{
    const struct generated_series *s = &g->series[id];
    int64_t timestamps_ms[MOST_BATCH];
    double values[MOST_BATCH];
    while (i < s->count) {
        int rc;
        size_t n = fill(g, id, i, timestamps_ms, values);
        if (n)
            rc = pra_series_sink_samples(sink, timestamps_ms, values, n, err);
        else
            rc = push_histogram(s, id, i, sink, err);
        n += n == 0;
        i += n;
        g->pushed += n;
        if (rc && !g->careless)
            return rc;
    }
    return PRA_OK;
}

static int select_entry(void *self, const pra_context *ctx, const pra_query *query,
                        pra_series_list *list, pra_error *err)
{
    struct generated *g = self;
    CHECK(ctx && list && err);
    g->selects++;
    for (size_t id = g->series_count; id-- > 0;) { /* out of order */
        const struct generated_series *s = &g->series[id];
        int rc = pra_query_matches(query, s->labels, s->label_count);
        CHECK(rc >= 0);
        if (rc == 1)
            rc = pra_series_list_add(list, s->labels, s->label_count, id, err);
        if (rc && !g->careless)
            return rc;
    }
    return g->select_code;
}

static int fetch_entry(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                       int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    struct generated *g = self;
    const struct generated_series *s = &g->series[id];
    size_t i = 0;
    CHECK(ctx && query && err && id < g->series_count && from_ms >= pra_query_start_ms(query));
    if (g->fetches++ >= g->fetch_fails && g->fetch_code)
        return pra_error_set_cstr(err, g->fetch_code, "the disk went away");
    if (g->stray) {
        CHECK(pra_series_sink_begin(sink, s->labels, s->label_count, err) == PRA_ERR_STATE);
        CHECK(pra_series_sink_end(sink, err) == PRA_ERR_STATE);
    }
    if (g->inside) {
        const void *piece;
        size_t len;
        CHECK(pra_exchange_body(g->inside, &piece, &len) == PRA_ERR_BUSY);
        CHECK(pra_exchange_run(g->inside) == PRA_ERR_BUSY);
    }
    if (!g->whole && from_ms > s->first_ms) {
        uint64_t gone = (uint64_t)from_ms - (uint64_t)s->first_ms;
        uint64_t step = (uint64_t)s->step_ms;
        i = (size_t)(gone / step + (gone % step != 0));
    }
    return push(g, id, i, sink, err);
}

static int query_entry(void *self, const pra_context *ctx, const pra_query *query,
                       pra_series_sink *sink, pra_error *err)
{
    struct generated *g = self;
    CHECK(ctx && err);
    g->queries++;
    for (size_t id = 0; id < g->series_count; id++) {
        const struct generated_series *s = &g->series[id];
        int rc = pra_query_matches(query, s->labels, s->label_count);
        CHECK(rc >= 0);
        if (rc == 0)
            continue;
        rc = pra_series_sink_begin(sink, s->labels, s->label_count, err);
        if (rc == PRA_OK)
            rc = push(g, id, 0, sink, err);
        if (rc == PRA_OK)
            rc = pra_series_sink_end(sink, err);
        if (rc && !g->careless)
            return rc;
    }
    return g->select_code;
}

const pra_storage_vtbl generated_fetched = {
    .size = sizeof(generated_fetched),
    .select = select_entry,
    .fetch = fetch_entry,
};

const pra_storage_vtbl generated_pushed = {
    .size = sizeof(generated_pushed),
    .process_query = query_entry,
};
