/* SPDX-License-Identifier: Apache-2.0 */
#include "message/histogram_reduce.h"

#include "base/error.h"
#include "message/histogram_check.h"

/* ---- is it possible */

static int check_indexes(const struct pra__buckets *side, pra_error *why)
{
    int64_t next = 0;
    for (size_t i = 0; i < side->span_count; i++) {
        const pra_bucket_span *span = &side->spans[i];
        next += span->offset;
        if (span->length && (next < INT32_MIN || next + span->length - 1 > INT32_MAX))
            return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                              "%s: span %zu reaches bucket indexes beyond 32 bits", side->name, i);
        next += span->length;
    }
    return PRA_OK;
}

static int check_side(const struct pra__buckets *side, pra_error *why)
{
    int rc = pra__spans_check(side, why);
    return rc ? rc : check_indexes(side, why);
}

/* ---- one side. What is written never overtakes what is read: a span begins at most one new span,
 * a bucket at most one new bucket. */

struct side {
    pra_bucket_span *spans;
    pra_range *span_range;
    int64_t *deltas; /* or */
    double *counts;
    pra_range *bucket_range;
    unsigned shift;
    /* written so far */
    uint32_t span_count;
    uint32_t count;
    int64_t last;    /* index of the last bucket written */
    uint64_t sum;    /* its count, in integer histograms */
    uint64_t before; /* and that of the one before it */
    uint64_t read;   /* count of the bucket that was read last */
};

/* Index of the bucket that holds bucket index of the finer schema. Upper bounds are inclusive, so
 * that bucket 1 of two is the second of its pair. The shift rounds down. */
static int64_t coarser(int64_t index, unsigned shift)
{
    return ((index - 1) >> shift) + 1;
}

/* Makes the span for a bucket behind the last one. */
static void extend(struct side *s, int64_t index)
{
    if (s->span_count && index == s->last + 1) {
        s->spans[s->span_count - 1].length++;
    } else {
        const int64_t offset = s->span_count ? index - s->last - 1 : index;
        s->spans[s->span_count++] = (pra_bucket_span){(int32_t)offset, 1};
    }
    s->last = index;
}

static void add_delta(struct side *s, int64_t delta, int is_new)
{
    s->read += (uint64_t)delta;
    if (is_new) {
        s->before = s->sum;
        s->sum = 0;
        s->count++;
    }
    s->sum += s->read;
    s->deltas[s->count - 1] = (int64_t)(s->sum - s->before);
}

static void add_count(struct side *s, double count, int is_new)
{
    if (is_new)
        s->counts[s->count++] = count;
    else
        s->counts[s->count - 1] += count;
}

static void reduce_side(struct side s)
{
    size_t at = 0;
    int64_t index = 0;
    for (size_t i = 0; i < s.span_range->count; i++) {
        const pra_bucket_span span = s.spans[i];
        index += span.offset;
        for (uint32_t j = 0; j < span.length; j++, index++, at++) {
            const int64_t target = coarser(index, s.shift);
            const int is_new = s.count == 0 || target != s.last;
            if (is_new)
                extend(&s, target);
            if (s.deltas)
                add_delta(&s, s.deltas[at], is_new);
            else
                add_count(&s, s.counts[at], is_new);
        }
    }
    s.span_range->count = s.span_count;
    s.bucket_range->count = s.count;
}

/* ---- the whole */

/* The columns and ranges of one side, as numbers of pra__bucket_columns: spans, deltas, counts. */
static const int sides[2][3] = {{0, 2, 4}, {1, 3, 5}};

static void reduce(struct pra__columns *c, pra_histogram *h, const int *ranges)
{
    const int buckets = ranges[h->flags & PRA_HISTOGRAM_FLOAT ? 2 : 1];
    struct side s = {.shift = (unsigned)(h->schema - PRA__SCHEMA_MAX)};
    s.span_range = pra__bucket_range(h, ranges[0]);
    s.bucket_range = pra__bucket_range(h, buckets);
    if (s.bucket_range->count == 0) {
        s.span_range->count = 0;
        return;
    }
    s.spans = PRA__COLUMN(pra_bucket_span, c, pra__bucket_columns[ranges[0]]);
    s.spans += s.span_range->start;
    if (h->flags & PRA_HISTOGRAM_FLOAT)
        s.counts = PRA__COLUMN(double, c, pra__bucket_columns[buckets]) + s.bucket_range->start;
    else
        s.deltas = PRA__COLUMN(int64_t, c, pra__bucket_columns[buckets]) + s.bucket_range->start;
    reduce_side(s);
}

int pra__histogram_reduce(struct pra__columns *c, pra_histogram *h, pra_error *why)
{
    pra_columns view = {.size = sizeof(view)};
    struct pra__buckets positive, negative;
    (void)pra__columns_view(c, &view);
    pra__histogram_sides(&view, h, &positive, &negative);
    int rc = check_side(&positive, why);
    if (rc == PRA_OK)
        rc = check_side(&negative, why);
    if (rc)
        return rc;
    reduce(c, h, sides[0]);
    reduce(c, h, sides[1]);
    h->schema = PRA__SCHEMA_MAX;
    return PRA_OK;
}
