/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/buffer.h"
#include "message/chunk_decode.h"
#include "message/chunk_histogram.h"

struct histograms {
    struct pra__bit_reader r;
    struct pra__columns *c;
    int is_float;
    uint8_t flags;
    pra_histogram layout; /* of the first histogram: its ranges are copied for the others */
    size_t buckets[2];
    uint64_t timestamp_ms;
    uint64_t delta_ms;
    union pra__chunk_number number;
    union pra__chunk_number zeros;
    struct pra__xor sum;
    pra_buffer numbers; /* of the buckets, both sides */
};

static const enum pra__column_id span_columns[2] = {PRA__COL_POSITIVE_SPANS,
                                                    PRA__COL_NEGATIVE_SPANS};
static const enum pra__column_id delta_columns[2] = {PRA__COL_POSITIVE_DELTAS,
                                                     PRA__COL_NEGATIVE_DELTAS};
static const enum pra__column_id count_columns[2] = {PRA__COL_POSITIVE_COUNTS,
                                                     PRA__COL_NEGATIVE_COUNTS};

static enum pra__column_id bucket_column(const struct histograms *d, int side)
{
    return d->is_float ? count_columns[side] : delta_columns[side];
}

/* ---- the layout. A span has at least two bits and a bucket one, so that counts that lie cost
 * nothing. */

static int read_spans(struct histograms *d, int side)
{
    uint64_t count = pra__get_varbit_unsigned(&d->r);
    uint64_t buckets = 0;
    if (count > pra__bits_left(&d->r) / 2)
        pra__bits_malformed(&d->r, "more spans than bits");
    int rc = d->r.why ? PRA_OK : pra__columns_room(d->c, span_columns[side], (size_t)count);
    struct pra__column *col = &d->c->col[span_columns[side]];
    for (uint64_t i = 0; rc == PRA_OK && !d->r.why && i < count; i++) {
        uint64_t length = pra__get_varbit_unsigned(&d->r);
        int64_t offset = pra__get_varbit(&d->r);
        if (length > UINT32_MAX || offset < INT32_MIN || offset > INT32_MAX)
            pra__bits_malformed(&d->r, "a span of more than 32 bits");
        buckets += length;
        ((pra_bucket_span *)col->data)[col->len++] =
            (pra_bucket_span){(int32_t)offset, (uint32_t)length};
    }
    if (!d->r.why && buckets > pra__bits_left(&d->r))
        pra__bits_malformed(&d->r, "more buckets than bits");
    d->buckets[side] = (size_t)buckets;
    return rc;
}

static int read_bounds(struct histograms *d)
{
    uint64_t count = pra__get_varbit_unsigned(&d->r);
    if (count > pra__bits_left(&d->r))
        pra__bits_malformed(&d->r, "more bounds than bits");
    int rc = d->r.why ? PRA_OK : pra__columns_room(d->c, PRA__COL_CUSTOM_VALUES, (size_t)count);
    struct pra__column *col = &d->c->col[PRA__COL_CUSTOM_VALUES];
    for (uint64_t i = 0; rc == PRA_OK && !d->r.why && i < count; i++)
        ((double *)col->data)[col->len++] = pra__get_bound(&d->r);
    return rc;
}

static int read_layout(struct histograms *d, pra_histogram *h)
{
    h->zero_threshold = pra__get_zero_threshold(&d->r);
    int64_t schema = pra__get_varbit(&d->r);
    if (!d->r.why && !pra__schema_known(schema))
        pra__bits_malformed(&d->r, "unknown schema");
    h->schema = (int32_t)schema;
    int rc = read_spans(d, 0);
    if (rc == PRA_OK)
        rc = read_spans(d, 1);
    if (rc == PRA_OK && schema == PRA__SCHEMA_CUSTOM)
        rc = read_bounds(d);
    return rc;
}

/* Memory for what is between two histograms. */
static int keep_numbers(struct histograms *d)
{
    size_t buckets = d->buckets[0] + d->buckets[1];
    size_t room = d->c->budget > d->c->held ? d->c->budget - d->c->held : 0;
    if (buckets > pra__bits_left(&d->r) / (d->is_float ? 64 : 1)) {
        pra__bits_malformed(&d->r, "more buckets than bits");
        return PRA_OK;
    }
    if (buckets > room / sizeof(union pra__chunk_number))
        return PRA_ERR_MEMORY_BUDGET;
    return pra__buffer_reserve(&d->numbers, buckets * sizeof(union pra__chunk_number));
}

/* ---- histograms */

static void first_number(struct histograms *d, union pra__chunk_number *n)
{
    if (d->is_float) {
        uint64_t bits = pra__get_many_bits(&d->r, 64);
        n->value = (struct pra__xor){.bits = bits, .leading = PRA__NO_WINDOW};
    } else {
        n->last = pra__get_varbit_unsigned(&d->r);
        n->delta = 0;
    }
}

static void next_number(struct histograms *d, union pra__chunk_number *n)
{
    if (d->is_float) {
        pra__get_xor(&d->r, &n->value);
    } else {
        n->delta += (uint64_t)pra__get_varbit(&d->r);
        n->last += n->delta;
    }
}

static uint64_t bits_of_number(const struct histograms *d, const union pra__chunk_number *n)
{
    return d->is_float ? n->value.bits : n->last;
}

static void read_heads(struct histograms *d, int first)
{
    if (first) {
        d->timestamp_ms = (uint64_t)pra__get_varbit(&d->r);
        first_number(d, &d->number);
        first_number(d, &d->zeros);
        d->sum =
            (struct pra__xor){.bits = pra__get_many_bits(&d->r, 64), .leading = PRA__NO_WINDOW};
        return;
    }
    d->delta_ms += (uint64_t)pra__get_varbit(&d->r);
    d->timestamp_ms += d->delta_ms;
    next_number(d, &d->number);
    next_number(d, &d->zeros);
    pra__get_xor(&d->r, &d->sum);
}

static int read_buckets(struct histograms *d, int side, int first)
{
    union pra__chunk_number *numbers = (void *)d->numbers.data;
    const enum pra__column_id id = bucket_column(d, side);
    int rc = pra__columns_room(d->c, id, d->buckets[side]);
    if (rc)
        return rc;
    struct pra__column *col = &d->c->col[id];
    for (size_t i = 0; i < d->buckets[side] && !d->r.why; i++) {
        union pra__chunk_number *n = &numbers[(side ? d->buckets[0] : 0) + i];
        if (!first) {
            next_number(d, n);
        } else if (d->is_float) {
            first_number(d, n);
        } else {
            n->last = (uint64_t)pra__get_varbit(&d->r);
            n->delta = 0;
        }
        uint64_t bits = bits_of_number(d, n);
        memcpy((char *)col->data + col->len++ * sizeof(bits), &bits, sizeof(bits));
    }
    return PRA_OK;
}

static int copy_range(struct pra__columns *c, enum pra__column_id id, pra_range range)
{
    int rc = pra__columns_room(c, id, range.count);
    if (rc == PRA_OK)
        pra__columns_append(c, id, c->col[id].data, range.start, range.count);
    return rc;
}

static int copy_layout(struct histograms *d, pra_histogram *h)
{
    h->schema = d->layout.schema;
    h->zero_threshold = d->layout.zero_threshold;
    int rc = copy_range(d->c, PRA__COL_POSITIVE_SPANS, d->layout.positive_spans);
    if (rc == PRA_OK)
        rc = copy_range(d->c, PRA__COL_NEGATIVE_SPANS, d->layout.negative_spans);
    if (rc == PRA_OK)
        rc = copy_range(d->c, PRA__COL_CUSTOM_VALUES, d->layout.custom_values);
    return rc;
}

/* As Prometheus reads them: what was before a chunk is not known, and inside one there is no reset.
 */
static int32_t reset_hint(const struct histograms *d, int first)
{
    if (d->flags == PRA__CHUNK_GAUGE)
        return PRA_COUNTER_RESET_GAUGE;
    return first ? PRA_COUNTER_RESET_UNKNOWN : PRA_COUNTER_RESET_NO;
}

static void end_histogram(struct histograms *d, pra_histogram *h, int stale)
{
    h->timestamp_ms = (int64_t)d->timestamp_ms;
    h->count_bits = stale ? 0 : bits_of_number(d, &d->number);
    h->zero_count_bits = stale ? 0 : bits_of_number(d, &d->zeros);
    memcpy(&h->sum, &d->sum.bits, sizeof(h->sum));
    h->flags = d->is_float ? PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT : 0;
    pra__histogram_end(d->c, h);
}

/* The first histogram is stale: it shows nothing but its time. Its arrays, which are empty as
 * Prometheus writes it, stay where they are for the next one. */
static void make_stale(struct histograms *d)
{
    pra_histogram *h = (pra_histogram *)d->c->col[PRA__COL_HISTOGRAMS].data +
                       d->c->col[PRA__COL_HISTOGRAMS].len - 1;
    *h = (pra_histogram){.timestamp_ms = h->timestamp_ms, .flags = h->flags};
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++)
        pra__bucket_range(h, i)->start = (uint32_t)d->c->col[pra__bucket_columns[i]].len;
    memcpy(&h->sum, &d->sum.bits, sizeof(h->sum));
}

static int read_first(struct histograms *d)
{
    pra_histogram *h = &d->layout;
    int rc = pra__histogram_begin(d->c, h);
    if (rc == PRA_OK)
        rc = read_layout(d, h);
    if (rc == PRA_OK && !d->r.why)
        rc = keep_numbers(d);
    if (rc || d->r.why)
        return rc;
    read_heads(d, 1);
    rc = read_buckets(d, 0, 1);
    if (rc == PRA_OK)
        rc = read_buckets(d, 1, 1);
    if (rc || d->r.why)
        return rc;
    h->reset_hint = reset_hint(d, 1);
    end_histogram(d, h, 0);
    if (d->sum.bits == PRA_STALE_NAN_BITS)
        make_stale(d);
    return PRA_OK;
}

static int read_next(struct histograms *d)
{
    pra_histogram h;
    int rc = pra__histogram_begin(d->c, &h);
    read_heads(d, 0);
    const int stale = d->sum.bits == PRA_STALE_NAN_BITS;
    if (rc == PRA_OK && !stale) {
        h.reset_hint = reset_hint(d, 0);
        rc = copy_layout(d, &h);
    }
    for (int side = 0; rc == PRA_OK && !stale && side < 2; side++)
        rc = read_buckets(d, side, 0);
    if (rc == PRA_OK && !d->r.why)
        end_histogram(d, &h, stale);
    return rc;
}

int pra__histograms_decode(struct pra__columns *c, int32_t type, struct pra__bit_reader *r,
                           size_t count)
{
    struct histograms d = {.r = *r, .c = c, .is_float = type == PRA_CHUNK_FLOAT_HISTOGRAM};
    pra__buffer_init(&d.numbers, &c->alloc);
    d.flags = (uint8_t)(pra__get_bits(&d.r, 8) & PRA__CHUNK_GAUGE);
    int rc = read_first(&d);
    for (size_t i = 1; rc == PRA_OK && !d.r.why && i < count; i++)
        rc = read_next(&d);
    pra__buffer_fini(&d.numbers);
    *r = d.r;
    return rc;
}
