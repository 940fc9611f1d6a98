/* SPDX-License-Identifier: Apache-2.0 */
#include "message/chunk_histogram.h"

#include <string.h>

#include "message/chunk_xor.h"
#include "message/columns.h"

void pra__histogram_chunk_init(struct pra__histogram_chunk *chunk, const pra_alloc *alloc)
{
    *chunk = (struct pra__histogram_chunk){0};
    pra__buffer_init(&chunk->data, alloc);
    pra__buffer_init(&chunk->layout, alloc);
    pra__buffer_init(&chunk->buckets, alloc);
}

void pra__histogram_chunk_fini(struct pra__histogram_chunk *chunk)
{
    pra__buffer_fini(&chunk->data);
    pra__buffer_fini(&chunk->layout);
    pra__buffer_fini(&chunk->buckets);
}

void pra__histogram_chunk_begin(struct pra__histogram_chunk *chunk)
{
    chunk->count = 0;
    chunk->known = 0;
}

size_t pra__histogram_chunk_memory(const struct pra__histogram_chunk *chunk)
{
    return chunk->data.cap + chunk->layout.cap + chunk->buckets.cap;
}

/* ---- looking at a histogram */

static int is_float(const struct pra__histogram_view *v)
{
    return (v->h.flags & PRA_HISTOGRAM_FLOAT) != 0;
}

static int32_t type_of(const struct pra__histogram_view *v)
{
    return is_float(v) ? PRA_CHUNK_FLOAT_HISTOGRAM : PRA_CHUNK_HISTOGRAM;
}

static int is_stale(const struct pra__histogram_view *v)
{
    return pra__bits_of(&v->h.sum) == PRA_STALE_NAN_BITS;
}

/* A count of the other kind counts as none. */
static uint64_t zero_bits(const struct pra__histogram_view *v)
{
    int zero_is_float = (v->h.flags & PRA_HISTOGRAM_ZERO_FLOAT) != 0;
    return zero_is_float == is_float(v) ? v->h.zero_count_bits : 0;
}

static int buckets_fit(const struct pra__histogram_view *v, int side)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < v->span_count[side]; i++)
        sum += v->spans[side][i].length;
    return sum == v->bucket_count[side];
}

/* A stale histogram has nothing but its time and that. */
static void view_stale(struct pra__histogram_view *v)
{
    v->h = (pra_histogram){.timestamp_ms = v->h.timestamp_ms,
                           .sum = v->h.sum,
                           .reset_hint = v->h.reset_hint,
                           .flags = v->h.flags};
}

/* Of no elements: NULL, as an empty column may be. */
#define FROM(array, range) ((range).count ? (array) + (range).start : NULL)

static void view_buckets(struct pra__histogram_view *v, const pra_columns *c)
{
    const pra_histogram *h = &v->h;
    const int integer = !is_float(v);
    v->spans[0] = FROM(c->bucket_spans, h->positive_spans);
    v->spans[1] = FROM(c->negative_bucket_spans, h->negative_spans);
    v->span_count[0] = h->positive_spans.count;
    v->span_count[1] = h->negative_spans.count;
    v->deltas[0] = FROM(c->positive_deltas, h->positive_deltas);
    v->deltas[1] = FROM(c->negative_deltas, h->negative_deltas);
    v->counts[0] = FROM(c->positive_counts, h->positive_counts);
    v->counts[1] = FROM(c->negative_counts, h->negative_counts);
    v->bucket_count[0] = integer ? h->positive_deltas.count : h->positive_counts.count;
    v->bucket_count[1] = integer ? h->negative_deltas.count : h->negative_counts.count;
    v->bounds = FROM(c->custom_values, h->custom_values);
    v->bound_count = h->custom_values.count;
}

static int view(struct pra__histogram_view *v, const pra_columns *c, size_t index)
{
    *v = (struct pra__histogram_view){.h = c->histograms[index]};
    const pra_histogram *h = &v->h;
    if (is_stale(v)) {
        view_stale(v);
        return PRA_OK;
    }
    if (pra__check_bucket_ranges(c, h) || !pra__schema_known(h->schema))
        return PRA_ERR_HISTOGRAM;
    view_buckets(v, c);
    return buckets_fit(v, 0) && buckets_fit(v, 1) ? PRA_OK : PRA_ERR_HISTOGRAM;
}

/* ---- whether a histogram goes on from the last one. Readers take it for granted that counters do
 * not start anew inside a chunk. */

static int same_bytes(const uint8_t **known, const void *array, size_t len)
{
    if (len == 0)
        return 1;
    int same = memcmp(*known, array, len) == 0;
    *known += len;
    return same;
}

static int same_layout(const struct pra__histogram_chunk *chunk,
                       const struct pra__histogram_view *v)
{
    const uint8_t *known = chunk->layout.data;
    return chunk->schema == v->h.schema &&
           pra__bits_of(&chunk->zero_threshold) == pra__bits_of(&v->h.zero_threshold) &&
           chunk->span_count[0] == v->span_count[0] && chunk->span_count[1] == v->span_count[1] &&
           chunk->bound_count == v->bound_count &&
           same_bytes(&known, v->spans[0], v->span_count[0] * sizeof(pra_bucket_span)) &&
           same_bytes(&known, v->spans[1], v->span_count[1] * sizeof(pra_bucket_span)) &&
           same_bytes(&known, v->bounds, v->bound_count * sizeof(double));
}

static int number_fell(const struct pra__histogram_chunk *chunk,
                       const union pra__chunk_number *before, uint64_t bits)
{
    if (chunk->type == PRA_CHUNK_FLOAT_HISTOGRAM)
        return pra__double_of(bits) < pra__double_of(before->value.bits);
    return bits < before->last;
}

static int bucket_fell(const struct pra__histogram_chunk *chunk,
                       const struct pra__histogram_view *v, int side)
{
    const union pra__chunk_number *numbers = (const void *)chunk->buckets.data;
    const size_t first = side ? chunk->bucket_count[0] : 0;
    uint64_t was = 0, is = 0;
    for (size_t i = 0; i < v->bucket_count[side]; i++) {
        if (is_float(v)) {
            if (v->counts[side][i] < pra__double_of(numbers[first + i].value.bits))
                return 1;
            continue;
        }
        was += numbers[first + i].last;
        is += (uint64_t)v->deltas[side][i];
        if ((int64_t)is < (int64_t)was)
            return 1;
    }
    return 0;
}

/* How a histogram follows the last one. */
enum { GOES_ON, STARTS_ANEW, UNKNOWN };

static int follows(const struct pra__histogram_chunk *chunk, const struct pra__histogram_view *v)
{
    if (!chunk->known || chunk->type != type_of(v))
        return UNKNOWN;
    if (is_stale(v))
        return GOES_ON;
    const int gauge = v->h.reset_hint == PRA_COUNTER_RESET_GAUGE;
    if (chunk->stale || gauge != (chunk->flags == PRA__CHUNK_GAUGE))
        return UNKNOWN;
    if (!gauge && number_fell(chunk, &chunk->number, v->h.count_bits))
        return STARTS_ANEW;
    if (!same_layout(chunk, v))
        return UNKNOWN;
    if (gauge)
        return GOES_ON;
    if (number_fell(chunk, &chunk->zeros, zero_bits(v)) || bucket_fell(chunk, v, 0) ||
        bucket_fell(chunk, v, 1))
        return STARTS_ANEW;
    return GOES_ON;
}

static uint8_t flags_for(const struct pra__histogram_view *v, int following)
{
    if (v->h.reset_hint == PRA_COUNTER_RESET_GAUGE)
        return PRA__CHUNK_GAUGE;
    if (v->h.reset_hint == PRA_COUNTER_RESET_YES || following == STARTS_ANEW)
        return PRA__CHUNK_RESET;
    return following == GOES_ON ? PRA__CHUNK_NO_RESET : PRA__CHUNK_RESET_UNKNOWN;
}

/* ---- writing */

enum { HEAD_MOST = PRA__HISTOGRAM_HEAD_BYTES + 18 + 4 * 10, SPAN_MOST = 18, NUMBER_MOST = 10 };

static int reserve(struct pra__histogram_chunk *chunk, const struct pra__histogram_view *v)
{
    size_t spans = v->span_count[0] + v->span_count[1];
    size_t buckets = v->bucket_count[0] + v->bucket_count[1];
    size_t arrays = spans * sizeof(pra_bucket_span) + v->bound_count * sizeof(double);
    size_t used = chunk->count ? (size_t)(chunk->w.p - chunk->data.data) : 0;
    chunk->data.len = used;
    int rc = pra__buffer_reserve(&chunk->data, HEAD_MOST + spans * SPAN_MOST +
                                                   (v->bound_count + buckets) * NUMBER_MOST +
                                                   PRA__BITS_OVERRUN);
    chunk->w.p = chunk->data.data ? chunk->data.data + used : NULL;
    if (rc || chunk->count)
        return rc;
    chunk->layout.len = chunk->buckets.len = 0;
    chunk->known = 0; /* what came before is forgotten */
    if (pra__buffer_reserve(&chunk->layout, arrays))
        return PRA_ERR_NOMEM;
    return pra__buffer_reserve(&chunk->buckets, buckets * sizeof(union pra__chunk_number));
}

static void keep_array(pra_buffer *buf, const void *array, size_t len)
{
    if (len)
        memcpy(buf->data + buf->len, array, len);
    buf->len += len;
}

static void start_chunk(struct pra__histogram_chunk *chunk, const struct pra__histogram_view *v,
                        uint8_t flags)
{
    chunk->w = (struct pra__bit_writer){.p = chunk->data.data + PRA__HISTOGRAM_HEAD_BYTES};
    chunk->type = type_of(v);
    chunk->flags = flags;
    chunk->min_ms = v->h.timestamp_ms;
    chunk->delta_ms = 0;
    chunk->schema = v->h.schema;
    chunk->zero_threshold = v->h.zero_threshold;
    memcpy(chunk->span_count, v->span_count, sizeof(v->span_count));
    memcpy(chunk->bucket_count, v->bucket_count, sizeof(v->bucket_count));
    chunk->bound_count = v->bound_count;
    keep_array(&chunk->layout, v->spans[0], v->span_count[0] * sizeof(pra_bucket_span));
    keep_array(&chunk->layout, v->spans[1], v->span_count[1] * sizeof(pra_bucket_span));
    keep_array(&chunk->layout, v->bounds, v->bound_count * sizeof(double));
    pra__put_layout(&chunk->w, v);
}

static void put_first_number(struct pra__histogram_chunk *chunk, union pra__chunk_number *n,
                             uint64_t bits)
{
    if (chunk->type == PRA_CHUNK_FLOAT_HISTOGRAM) {
        n->value = (struct pra__xor){.bits = bits, .leading = PRA__NO_WINDOW};
        pra__put_bits64(&chunk->w, bits);
    } else {
        n->last = bits;
        n->delta = 0;
        pra__put_varbit_unsigned(&chunk->w, bits);
    }
}

static void put_number(struct pra__histogram_chunk *chunk, union pra__chunk_number *n,
                       uint64_t bits)
{
    if (chunk->type == PRA_CHUNK_FLOAT_HISTOGRAM) {
        pra__put_xor(&chunk->w, &n->value, bits);
        return;
    }
    uint64_t delta = bits - n->last;
    pra__put_varbit(&chunk->w, (int64_t)(delta - n->delta));
    n->last = bits;
    n->delta = delta;
}

static uint64_t bucket_bits(const struct pra__histogram_view *v, int side, size_t i)
{
    return is_float(v) ? pra__bits_of(&v->counts[side][i]) : (uint64_t)v->deltas[side][i];
}

static void put_first(struct pra__histogram_chunk *chunk, const struct pra__histogram_view *v)
{
    union pra__chunk_number *n = (union pra__chunk_number *)(void *)chunk->buckets.data;
    pra__put_varbit(&chunk->w, v->h.timestamp_ms);
    put_first_number(chunk, &chunk->number, v->h.count_bits);
    put_first_number(chunk, &chunk->zeros, zero_bits(v));
    chunk->sum = (struct pra__xor){.bits = pra__bits_of(&v->h.sum), .leading = PRA__NO_WINDOW};
    pra__put_bits64(&chunk->w, chunk->sum.bits);
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < v->bucket_count[side]; i++, n++) {
            if (is_float(v)) {
                put_first_number(chunk, n, bucket_bits(v, side, i));
                continue;
            }
            n->last = (uint64_t)v->deltas[side][i];
            n->delta = 0;
            pra__put_varbit(&chunk->w, v->deltas[side][i]);
        }
}

/* A stale histogram has no buckets, and of integers its counts stand still. */
static void put_next(struct pra__histogram_chunk *chunk, const struct pra__histogram_view *v)
{
    union pra__chunk_number *n = (union pra__chunk_number *)(void *)chunk->buckets.data;
    uint64_t delta_ms = (uint64_t)v->h.timestamp_ms - (uint64_t)chunk->max_ms;
    pra__put_varbit(&chunk->w, (int64_t)(delta_ms - chunk->delta_ms));
    chunk->delta_ms = delta_ms;
    if (is_stale(v) && !is_float(v)) {
        pra__put_bits(&chunk->w, 0, 2);
    } else {
        put_number(chunk, &chunk->number, v->h.count_bits);
        put_number(chunk, &chunk->zeros, zero_bits(v));
    }
    pra__put_xor(&chunk->w, &chunk->sum, pra__bits_of(&v->h.sum));
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < v->bucket_count[side]; i++, n++)
            put_number(chunk, n, bucket_bits(v, side, i));
}

static int append_one(struct pra__histogram_chunk *chunk, const struct pra__histogram_view *v,
                      int following)
{
    int rc = reserve(chunk, v);
    if (rc)
        return rc;
    if (chunk->count == 0) {
        start_chunk(chunk, v, flags_for(v, following));
        put_first(chunk, v);
    } else {
        put_next(chunk, v);
    }
    chunk->max_ms = v->h.timestamp_ms;
    chunk->count++;
    chunk->stale = is_stale(v);
    chunk->known = 1;
    return PRA_OK;
}

static int is_full(const struct pra__histogram_chunk *chunk)
{
    return chunk->count >= PRA__HISTOGRAM_CHUNK_LEAST &&
           (pra__bits_len(&chunk->w, chunk->data.data) >= PRA__HISTOGRAM_CHUNK_BYTES ||
            chunk->count == PRA__CHUNK_MOST_SAMPLES);
}

int pra__histogram_chunk_append(struct pra__histogram_chunk *chunk, const pra_columns *columns,
                                size_t start, size_t count, size_t *taken)
{
    for (*taken = 0; *taken < count; ++*taken) {
        struct pra__histogram_view v;
        if (chunk->count && is_full(chunk))
            return PRA_OK;
        int rc = view(&v, columns, start + *taken);
        if (rc)
            return rc;
        int following = follows(chunk, &v);
        if (chunk->count && (following != GOES_ON || v.h.reset_hint == PRA_COUNTER_RESET_YES))
            return PRA_OK;
        rc = append_one(chunk, &v, following);
        if (rc)
            return rc;
    }
    return PRA_OK;
}

size_t pra__histogram_chunk_end(struct pra__histogram_chunk *chunk)
{
    if (chunk->count == 0)
        return chunk->data.len = 0;
    chunk->data.data[0] = (uint8_t)(chunk->count >> 8);
    chunk->data.data[1] = (uint8_t)chunk->count;
    chunk->data.data[2] = chunk->flags;
    chunk->count = 0;
    return chunk->data.len = pra__bits_len(&chunk->w, chunk->data.data);
}

int pra_chunk_encode_histograms(const pra_columns *columns, size_t start, size_t count,
                                size_t *taken, int32_t *type, pra_buffer *out)
{
    struct pra__histogram_chunk chunk;
    size_t n;
    if (!columns || columns->size < sizeof(*columns) || !taken || !type || !out || count == 0 ||
        start > columns->histogram_count || count > columns->histogram_count - start)
        return PRA_ERR_INVALID_ARG;
    pra__histogram_chunk_init(&chunk, &out->alloc);
    int rc = pra__histogram_chunk_append(&chunk, columns, start, count, &n);
    if (rc == PRA_ERR_HISTOGRAM && n > 0)
        rc = PRA_OK; /* the next call says so */
    size_t len = pra__histogram_chunk_end(&chunk);
    if (rc == PRA_OK)
        rc = pra_buffer_append(out, chunk.data.data, len);
    if (rc == PRA_OK) {
        *taken = n;
        *type = chunk.type;
    }
    pra__histogram_chunk_fini(&chunk);
    return rc;
}
