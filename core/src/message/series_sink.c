/* SPDX-License-Identifier: Apache-2.0 */
/* From pushed series to the bytes of a QueryResult: every series is sized once and written once. */
#include "message/series_sink.h"

#include <string.h>

#include <pra_proto/remote.pb.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/sort.h"
#include "base/str.h"
#include "message/label_encode.h"
#include "wire/tlv.h"

struct point {
    int64_t timestamp_ms;
    double value;
    size_t order; /* of arrival: of equal timestamps the last wins */
};

struct pra_series_sink {
    pra_alloc alloc;
    pra_buffer series; /* finished: fields of QueryResult */
    pra_buffer labels; /* of the series that was begun: fields of TimeSeries */
    int64_t start_ms;
    int64_t end_ms;
    size_t series_count;
    size_t sample_count;
    int begun;
    pra__read_budget *budget;
    pra__read_budget own_budget; /* of a sink used without a handler */
    pra_error failure;           /* sticky */

    pra_label *sorted; /* scratch */
    size_t sorted_cap;
    int64_t *timestamps_ms; /* samples of the series that was begun */
    double *values;
    size_t point_count;
    size_t point_cap;
    int out_of_order; /* timestamps are not strictly increasing */
};

void pra__read_budget_init(pra__read_budget *budget, const pra_limits *limits)
{
    atomic_init(&budget->samples, limits->max_read_samples);
    atomic_init(&budget->bytes, limits->max_response_bytes);
    budget->max_samples = limits->max_read_samples;
    budget->max_bytes = limits->max_response_bytes;
}

/* Takes n, or nothing and returns 0. */
static int budget_take(atomic_uint_fast64_t *left, uint64_t n)
{
    uint_fast64_t have = atomic_load_explicit(left, memory_order_relaxed);
    do {
        if (have < n)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(left, &have, have - n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return 1;
}

/* ── Life ── */

int pra__series_sink_make(const pra_alloc *alloc, pra_series_sink **out)
{
    pra_series_sink *sink = pra__calloc(alloc, sizeof(*sink));
    if (!sink)
        return PRA_ERR_NOMEM;
    sink->alloc = *alloc;
    pra__buffer_init(&sink->series, alloc);
    pra__buffer_init(&sink->labels, alloc);
    *out = sink;
    return PRA_OK;
}

void pra__series_sink_start(pra_series_sink *sink, int64_t start_ms, int64_t end_ms,
                            pra__read_budget *budget)
{
    pra_buffer_reset(&sink->series);
    sink->start_ms = start_ms;
    sink->end_ms = end_ms;
    sink->series_count = sink->sample_count = 0;
    sink->begun = 0;
    sink->budget = budget;
    sink->failure = (pra_error){0};
}

int pra_series_sink_new(const pra_alloc *alloc, int64_t start_ms, int64_t end_ms,
                        const pra_limits *limits, pra_series_sink **out)
{
    pra_alloc a = pra__alloc_copy(alloc);
    pra_limits full;
    pra_series_sink *sink;
    int rc = pra__limits_resolve(limits, &full);
    if (rc || (rc = pra__series_sink_make(&a, &sink)) != PRA_OK)
        return rc;
    pra__read_budget_init(&sink->own_budget, &full);
    pra__series_sink_start(sink, start_ms, end_ms, &sink->own_budget);
    *out = sink;
    return PRA_OK;
}

void pra_series_sink_reset(pra_series_sink *sink, int64_t start_ms, int64_t end_ms)
{
    atomic_store(&sink->own_budget.samples, sink->own_budget.max_samples);
    atomic_store(&sink->own_budget.bytes, sink->own_budget.max_bytes);
    pra__series_sink_start(sink, start_ms, end_ms, &sink->own_budget);
}

static void free_scratch(pra_series_sink *sink)
{
    pra__free(&sink->alloc, sink->sorted, sink->sorted_cap * sizeof(*sink->sorted));
    pra__free(&sink->alloc, sink->timestamps_ms, sink->point_cap * sizeof(int64_t));
    pra__free(&sink->alloc, sink->values, sink->point_cap * sizeof(double));
}

size_t pra__series_sink_memory(const pra_series_sink *sink)
{
    return sizeof(*sink) + sink->series.cap + sink->labels.cap +
           sink->sorted_cap * sizeof(*sink->sorted) +
           sink->point_cap * (sizeof(*sink->timestamps_ms) + sizeof(*sink->values));
}

void pra_series_sink_free(pra_series_sink *sink)
{
    if (!sink)
        return;
    pra_alloc alloc = sink->alloc;
    free_scratch(sink);
    pra__buffer_fini(&sink->series);
    pra__buffer_fini(&sink->labels);
    pra__free(&alloc, sink, sizeof(*sink));
}

/* ── Failures that end the answer ── */

/* Keeps the first one; later calls hand it out again. */
static int fail(pra_series_sink *sink, pra_error *err)
{
    sink->begun = 0;
    if (err)
        *err = sink->failure;
    return sink->failure.code;
}

static int fail_nomem(pra_series_sink *sink, pra_error *err)
{
    pra__nomem(&sink->failure);
    return fail(sink, err);
}

int pra__series_sink_failure(const pra_series_sink *sink, pra_error *err)
{
    if (sink->failure.code && err)
        *err = sink->failure;
    return sink->failure.code;
}

static int take_samples(pra_series_sink *sink, size_t count, pra_error *err)
{
    if (budget_take(&sink->budget->samples, count))
        return PRA_OK;
    pra__error(&sink->failure, PRA_ERR_SAMPLE_LIMIT, 0,
               "exceeded sample limit (%llu); ask for less, or raise max_read_samples "
               "(--limit.read-samples)",
               (unsigned long long)sink->budget->max_samples);
    return fail(sink, err);
}

static int take_bytes(pra_series_sink *sink, size_t count, pra_error *err)
{
    if (budget_take(&sink->budget->bytes, count))
        return PRA_OK;
    pra__error(&sink->failure, PRA_ERR_RESPONSE_TOO_LARGE, 0,
               "the answer is larger than the limit of %llu bytes; ask for less, or raise "
               "max_response_bytes (--limit.response-size)",
               (unsigned long long)sink->budget->max_bytes);
    return fail(sink, err);
}

/* ── Labels ── */

static int compare_names(const void *a, const void *b, const void *arg)
{
    (void)arg;
    return pra__str_compare(((const pra_label *)a)->name, ((const pra_label *)b)->name);
}

/* Copies the labels that have a value into sink->sorted, in order. Returns how many, or a negative
 * code. */
static int64_t sort_labels(pra_series_sink *sink, const pra_label *labels, size_t count)
{
    size_t kept = 0;
    int in_order = 1;
    if (count > sink->sorted_cap) {
        pra_label *sorted =
            pra__realloc(&sink->alloc, sink->sorted, sink->sorted_cap * sizeof(*sorted),
                         count * sizeof(*sorted));
        if (!sorted)
            return PRA_ERR_NOMEM;
        sink->sorted = sorted;
        sink->sorted_cap = count;
    }
    for (size_t i = 0; i < count; i++) {
        if (labels[i].value.len == 0)
            continue;
        sink->sorted[kept] = labels[i];
        in_order &= kept == 0 || compare_names(&sink->sorted[kept - 1], &labels[i], NULL) < 0;
        kept++;
    }
    if (!in_order)
        pra__sort(sink->sorted, kept, sizeof(*sink->sorted), compare_names, NULL);
    return (int64_t)kept;
}

static int check_labels(const pra_label *labels, size_t count, pra_error *err)
{
    for (size_t i = 0; i < count; i++) {
        pra_str name = labels[i].name;
        int shown = (int)(name.len < 64 ? name.len : 64);
        if (name.len == 0)
            return pra__error(err, PRA_ERR_LABELS, 0, "a label of the answer has an empty name");
        if (!pra__utf8_valid(name) || !pra__utf8_valid(labels[i].value))
            return pra__error(err, PRA_ERR_LABELS, 0, "label \"%.*s\" of the answer is not UTF-8",
                              shown, name.ptr);
        if (i > 0 && pra__str_equal(labels[i - 1].name, name))
            return pra__error(err, PRA_ERR_LABELS, 0,
                              "label \"%.*s\" stands twice in a series of the answer", shown,
                              name.ptr);
    }
    return PRA_OK;
}

static int encode_labels(pra_series_sink *sink, size_t count, pra_error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pra__label_field_size(prom_TimeSeries_labels_tag, sink->sorted[i].name.len,
                                      sink->sorted[i].value.len);
    /* Before they take memory: each of many sinks could hold as much as all may hold together. */
    if (size > atomic_load_explicit(&sink->budget->bytes, memory_order_relaxed))
        return take_bytes(sink, size, err);
    pra_buffer_reset(&sink->labels);
    if (pra__buffer_reserve(&sink->labels, size))
        return fail_nomem(sink, err);
    uint8_t *p = sink->labels.data;
    for (size_t i = 0; i < count; i++)
        p = pra__put_label_field(p, prom_TimeSeries_labels_tag, sink->sorted[i].name,
                                 sink->sorted[i].value);
    sink->labels.len = size;
    return PRA_OK;
}

int pra_series_sink_begin(pra_series_sink *sink, const pra_label *labels, size_t label_count,
                          pra_error *err)
{
    if (!sink || (!labels && label_count))
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return fail(sink, err);
    sink->begun = 0;
    int64_t kept = sort_labels(sink, labels, label_count);
    if (kept < 0)
        return fail_nomem(sink, err);
    int rc = check_labels(sink->sorted, (size_t)kept, err);
    if (rc)
        return rc;
    rc = encode_labels(sink, (size_t)kept, err);
    if (rc)
        return rc;
    sink->begun = 1;
    sink->point_count = 0;
    sink->out_of_order = 0;
    return PRA_OK;
}

/* ── Samples ── */

enum {
    KEY_SAMPLE = prom_TimeSeries_samples_tag << 3 | PRA__WIRE_BYTES,
    KEY_VALUE = prom_Sample_value_tag << 3 | PRA__WIRE_FIXED64,
    KEY_TIMESTAMP = prom_Sample_timestamp_tag << 3 | PRA__WIRE_VARINT,
    VALUE_SIZE = 9, /* of a value that is not zero, with its key */
    OVERRUN = 9     /* bytes that may be written behind the last sample: two zeros are 2 of 11 */
};

/* Bytes of a timestamp with its key; 0 is not written. */
static size_t timestamp_size(int64_t timestamp_ms)
{
    return timestamp_ms ? 1 + pra__varint_size((uint64_t)timestamp_ms) : 0;
}

static int is_zero(const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof(bits));
    return bits == 0;
}

/* In an increasing column of timestamps the sizes do not change between two of one size and sign.
 */
static int same_size(const int64_t *timestamps_ms, size_t count)
{
    int64_t first = timestamps_ms[0];
    int64_t last = timestamps_ms[count - 1];
    return (first > 0 || last < 0) && timestamp_size(first) == timestamp_size(last);
}

/* Bytes of all samples with their keys and lengths. */
static size_t samples_size(const int64_t *timestamps_ms, const double *values, size_t count)
{
    size_t zeros = 0;
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        zeros += (size_t)is_zero(&values[i]);
    if (same_size(timestamps_ms, count))
        size = count * timestamp_size(timestamps_ms[0]);
    else
        for (size_t i = 0; i < count; i++)
            size += timestamp_size(timestamps_ms[i]);
    return size + 2 * count + VALUE_SIZE * (count - zeros);
}

/* v below 2^56 as a varint of size bytes, in the low bytes of a word: its groups of 7 bits are
 * moved apart, then marked. */
static uint64_t spread_varint(uint64_t v, size_t size)
{
    v = (v & 0x000000000fffffff) | (v & 0x00fffffff0000000) << 4;
    v = (v & 0x00003fff00003fff) | (v & 0x0fffc0000fffc000) << 2;
    v = (v & 0x007f007f007f007f) | (v & 0x3f803f803f803f80) << 1;
    return v | (UINT64_C(0x8080808080808080) & ((UINT64_C(1) << (8 * (size - 1))) - 1));
}

static uint8_t *put_sample(uint8_t *p, int64_t timestamp_ms, const double *value, size_t time_size)
{
    size_t value_size = is_zero(value) ? 0 : VALUE_SIZE;
    p[0] = KEY_SAMPLE;
    p[1] = (uint8_t)(value_size + time_size);
    p[2] = KEY_VALUE;
    pra__put_fixed64(p + 3, value); /* what follows covers it if it is zero */
    p += 2 + value_size;
    if (time_size == 0)
        return p;
    p[0] = KEY_TIMESTAMP;
    if (time_size <= 9) {
        uint64_t word = spread_varint((uint64_t)timestamp_ms, time_size - 1);
        pra__put_fixed64(p + 1, &word);
        return p + time_size;
    }
    return pra__put_varint(p + 1, (uint64_t)timestamp_ms);
}

static uint8_t *put_samples(uint8_t *p, const int64_t *timestamps_ms, const double *values,
                            size_t count)
{
    if (same_size(timestamps_ms, count)) {
        const size_t time_size = timestamp_size(timestamps_ms[0]);
        for (size_t i = 0; i < count; i++)
            p = put_sample(p, timestamps_ms[i], &values[i], time_size);
    } else {
        for (size_t i = 0; i < count; i++)
            p = put_sample(p, timestamps_ms[i], &values[i], timestamp_size(timestamps_ms[i]));
    }
    return p;
}

/* Writes the series with its labels and these samples, which are in order and in range. */
static int encode_series(pra_series_sink *sink, const int64_t *timestamps_ms, const double *values,
                         size_t count, pra_error *err)
{
    if (count == 0)
        return PRA_OK;
    size_t body = sink->labels.len + samples_size(timestamps_ms, values, count);
    size_t total = pra__bytes_field_size(prom_QueryResult_timeseries_tag, body);
    int rc = take_samples(sink, count, err);
    if (rc || (rc = take_bytes(sink, total, err)) != PRA_OK)
        return rc;
    if (pra__buffer_reserve(&sink->series, total + OVERRUN))
        return fail_nomem(sink, err);
    uint8_t *p = sink->series.data + sink->series.len;
    p = pra__put_head(p, prom_QueryResult_timeseries_tag, body);
    if (sink->labels.len)
        memcpy(p, sink->labels.data, sink->labels.len);
    put_samples(p + sink->labels.len, timestamps_ms, values, count);
    sink->series.len += total;
    sink->series_count++;
    sink->sample_count += count;
    return PRA_OK;
}

/* A sample that waits to be encoded. */
enum { POINT_BYTES = sizeof(int64_t) + sizeof(double) };

static int reserve_points(pra_series_sink *sink, size_t extra)
{
    if (extra <= sink->point_cap - sink->point_count)
        return PRA_OK;
    size_t want = sink->point_count + extra;
    size_t cap = sink->point_cap * 2 > want ? sink->point_cap * 2 : want;
    if (cap > SIZE_MAX / sizeof(struct point) / 2)
        return PRA_ERR_NOMEM;
    int64_t *timestamps_ms = pra__malloc(&sink->alloc, cap * sizeof(*timestamps_ms));
    double *values = pra__malloc(&sink->alloc, cap * sizeof(*values));
    if (!timestamps_ms || !values) {
        pra__free(&sink->alloc, timestamps_ms, cap * sizeof(*timestamps_ms));
        pra__free(&sink->alloc, values, cap * sizeof(*values));
        return PRA_ERR_NOMEM;
    }
    if (sink->point_count) {
        memcpy(timestamps_ms, sink->timestamps_ms, sink->point_count * sizeof(*timestamps_ms));
        memcpy(values, sink->values, sink->point_count * sizeof(*values));
    }
    pra__free(&sink->alloc, sink->timestamps_ms, sink->point_cap * sizeof(*timestamps_ms));
    pra__free(&sink->alloc, sink->values, sink->point_cap * sizeof(*values));
    sink->timestamps_ms = timestamps_ms;
    sink->values = values;
    sink->point_cap = cap;
    return PRA_OK;
}

static int in_range(const pra_series_sink *sink, int64_t timestamp_ms)
{
    return timestamp_ms >= sink->start_ms && timestamp_ms <= sink->end_ms;
}

static size_t count_in_range(const pra_series_sink *sink, const int64_t *timestamps_ms,
                             size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        kept += (size_t)in_range(sink, timestamps_ms[i]);
    return kept;
}

int pra_series_sink_samples(pra_series_sink *sink, const int64_t *timestamps_ms,
                            const double *values, size_t count, pra_error *err)
{
    if (!sink || (count && (!timestamps_ms || !values)))
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return fail(sink, err);
    if (!sink->begun)
        return PRA_ERR_STATE;
    /* Before the samples take memory; what sorting leaves out later is too little to matter. */
    size_t kept = count_in_range(sink, timestamps_ms, count);
    if (sink->point_count + kept > sink->budget->max_samples)
        return take_samples(sink, sink->point_count + kept, err);
    if (sink->point_count + kept > sink->budget->max_bytes / POINT_BYTES)
        return take_bytes(sink, SIZE_MAX, err);
    if (reserve_points(sink, kept))
        return fail_nomem(sink, err);
    for (size_t i = 0; i < count; i++) {
        int64_t t = timestamps_ms[i];
        size_t n = sink->point_count;
        if (!in_range(sink, t))
            continue;
        sink->out_of_order |= n > 0 && t <= sink->timestamps_ms[n - 1];
        sink->timestamps_ms[n] = t;
        memcpy(&sink->values[n], &values[i], sizeof(double));
        sink->point_count++;
    }
    return PRA_OK;
}

static int compare_points(const void *a, const void *b, const void *arg)
{
    (void)arg;
    const struct point *x = a;
    const struct point *y = b;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Sorts by time and keeps the last of equal ones. */
static int sort_points(pra_series_sink *sink)
{
    size_t count = sink->point_count;
    size_t kept = 0;
    struct point *points = pra__malloc(&sink->alloc, count * sizeof(*points));
    if (!points)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        points[i] = (struct point){.timestamp_ms = sink->timestamps_ms[i], .order = i};
        memcpy(&points[i].value, &sink->values[i], sizeof(double));
    }
    pra__sort(points, count, sizeof(*points), compare_points, NULL);
    for (size_t i = 0; i < count; i++) {
        if (kept && sink->timestamps_ms[kept - 1] == points[i].timestamp_ms)
            kept--;
        sink->timestamps_ms[kept] = points[i].timestamp_ms;
        memcpy(&sink->values[kept++], &points[i].value, sizeof(double));
    }
    pra__free(&sink->alloc, points, count * sizeof(*points));
    sink->point_count = kept;
    return PRA_OK;
}

int pra_series_sink_end(pra_series_sink *sink, pra_error *err)
{
    if (!sink)
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return fail(sink, err);
    if (!sink->begun)
        return PRA_ERR_STATE;
    sink->begun = 0;
    if (sink->out_of_order && sort_points(sink))
        return fail_nomem(sink, err);
    return encode_series(sink, sink->timestamps_ms, sink->values, sink->point_count, err);
}

static int is_increasing(const int64_t *timestamps_ms, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (timestamps_ms[i - 1] >= timestamps_ms[i])
            return 0;
    return 1;
}

/* First index whose timestamp is not below t. */
static size_t lower_bound(const int64_t *timestamps_ms, size_t count, int64_t t)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (timestamps_ms[middle] < t)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

int pra_series_sink_add(pra_series_sink *sink, const pra_label *labels, size_t label_count,
                        const int64_t *timestamps_ms, const double *values, size_t sample_count,
                        pra_error *err)
{
    if (sample_count && (!timestamps_ms || !values))
        return PRA_ERR_INVALID_ARG;
    int rc = pra_series_sink_begin(sink, labels, label_count, err);
    if (rc)
        return rc;
    if (!is_increasing(timestamps_ms, sample_count)) {
        rc = pra_series_sink_samples(sink, timestamps_ms, values, sample_count, err);
        return rc ? rc : pra_series_sink_end(sink, err);
    }
    size_t first = lower_bound(timestamps_ms, sample_count, sink->start_ms);
    size_t last = sink->end_ms == INT64_MAX
                      ? sample_count
                      : lower_bound(timestamps_ms, sample_count, sink->end_ms + 1);
    sink->begun = 0;
    if (first >= last)
        return PRA_OK;
    return encode_series(sink, timestamps_ms + first, values + first, last - first, err);
}

/* ── What came together ── */

size_t pra_series_sink_series_count(const pra_series_sink *sink)
{
    return sink->series_count;
}

size_t pra_series_sink_sample_count(const pra_series_sink *sink)
{
    return sink->sample_count;
}

const pra_buffer *pra__series_sink_bytes(const pra_series_sink *sink)
{
    return &sink->series;
}
