/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of histograms and metadata: all of it copied, as it lies in rows. */
#include <string.h>

#include "base/str.h"
#include "message/arrow_export.h"
#include "message/arrow_labels.h"

/* ---- histograms */

enum {
    SERIES,
    TIMESTAMP,
    START_TIMESTAMP,
    SCHEMA,
    RESET_HINT,
    IS_FLOAT,
    COUNT,
    ZERO_COUNT,
    ZERO_THRESHOLD,
    SUM,
    POSITIVE_SPANS,
    POSITIVE_BUCKETS,
    NEGATIVE_SPANS,
    NEGATIVE_BUCKETS,
    CUSTOM_VALUES
};

static const char *const reset_hints[] = {"unknown", "yes", "no", "gauge"};

static int has_start(const pra_columns *c, size_t i)
{
    return c->histograms[i].start_timestamp_ms != 0;
}

static double number_of(uint64_t bits, int is_float)
{
    double value = (double)bits;
    if (is_float)
        memcpy(&value, &bits, sizeof(value));
    return value;
}

static int fill_times(struct pra__arrow_export *e, struct ArrowArray *const *column)
{
    const size_t n = e->c.histogram_count;
    int64_t *time = pra__arrow_fill(e, column[TIMESTAMP], n, sizeof(*time));
    int64_t *start = pra__arrow_fill(e, column[START_TIMESTAMP], n, sizeof(*start));
    if (!time || !start)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        time[i] = e->c.histograms[i].timestamp_ms;
        start[i] = e->c.histograms[i].start_timestamp_ms;
    }
    return pra__arrow_validity(e, column[START_TIMESTAMP], n, has_start);
}

static int fill_kind(struct pra__arrow_export *e, struct ArrowArray *const *column)
{
    const size_t n = e->c.histogram_count;
    int32_t *schema = pra__arrow_fill(e, column[SCHEMA], n, sizeof(*schema));
    int32_t *hint = pra__arrow_fill(e, column[RESET_HINT], n, sizeof(*hint));
    uint8_t *is_float = pra__arrow_fill(e, column[IS_FLOAT], n / 8 + 1, 1);
    if (!schema || !hint || !is_float)
        return PRA_ERR_NOMEM;
    column[IS_FLOAT]->length = (int64_t)n;
    memset(is_float, 0, n / 8 + 1);
    for (size_t i = 0; i < n; i++) {
        const pra_histogram *h = &e->c.histograms[i];
        schema[i] = h->schema;
        hint[i] =
            h->reset_hint >= 0 && h->reset_hint <= PRA_COUNTER_RESET_GAUGE ? h->reset_hint : 0;
        if (h->flags & PRA_HISTOGRAM_FLOAT)
            is_float[i / 8] |= (uint8_t)(1U << i % 8);
    }
    return pra__arrow_constants(e, reset_hints, sizeof(reset_hints) / sizeof(reset_hints[0]),
                                column[RESET_HINT]);
}

static int fill_numbers(struct pra__arrow_export *e, struct ArrowArray *const *column)
{
    const size_t n = e->c.histogram_count;
    double *count = pra__arrow_fill(e, column[COUNT], n, sizeof(*count));
    double *zero_count = pra__arrow_fill(e, column[ZERO_COUNT], n, sizeof(*zero_count));
    double *zero_threshold = pra__arrow_fill(e, column[ZERO_THRESHOLD], n, sizeof(double));
    double *sum = pra__arrow_fill(e, column[SUM], n, sizeof(*sum));
    if (!count || !zero_count || !zero_threshold || !sum)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const pra_histogram *h = &e->c.histograms[i];
        count[i] = number_of(h->count_bits, h->flags & PRA_HISTOGRAM_FLOAT);
        zero_count[i] = number_of(h->zero_count_bits, h->flags & PRA_HISTOGRAM_ZERO_FLOAT);
        memcpy(&zero_threshold[i], &h->zero_threshold, sizeof(double));
        memcpy(&sum[i], &h->sum, sizeof(double)); /* its bits may say that it is stale */
    }
    return PRA_OK;
}

/* Which part of a histogram a list column holds, and how its elements are copied. */
struct list {
    int column;
    pra_range (*range)(const pra_histogram *h);
    void (*copy)(const pra_columns *c, const pra_histogram *h, struct ArrowArray *item, size_t at);
};

static pra_range positive_spans(const pra_histogram *h)
{
    return h->positive_spans;
}

static pra_range negative_spans(const pra_histogram *h)
{
    return h->negative_spans;
}

static pra_range positive_buckets(const pra_histogram *h)
{
    return h->flags & PRA_HISTOGRAM_FLOAT ? h->positive_counts : h->positive_deltas;
}

static pra_range negative_buckets(const pra_histogram *h)
{
    return h->flags & PRA_HISTOGRAM_FLOAT ? h->negative_counts : h->negative_deltas;
}

static pra_range custom_values(const pra_histogram *h)
{
    return h->custom_values;
}

/* Buffers that pra__arrow_fill has just made. */
static void *elements(const struct ArrowArray *array)
{
    return (void *)(uintptr_t)array->buffers[1];
}

static void copy_spans(const pra_bucket_span *from, pra_range range, struct ArrowArray *item,
                       size_t at)
{
    int32_t *offset = elements(item->children[0]);
    uint32_t *length = elements(item->children[1]);
    for (uint32_t i = 0; i < range.count; i++) {
        offset[at + i] = from[range.start + i].offset;
        length[at + i] = from[range.start + i].length;
    }
}

static void copy_positive_spans(const pra_columns *c, const pra_histogram *h,
                                struct ArrowArray *item, size_t at)
{
    copy_spans(c->bucket_spans, h->positive_spans, item, at);
}

static void copy_negative_spans(const pra_columns *c, const pra_histogram *h,
                                struct ArrowArray *item, size_t at)
{
    copy_spans(c->negative_bucket_spans, h->negative_spans, item, at);
}

static void copy_doubles(const double *from, pra_range range, struct ArrowArray *item, size_t at)
{
    if (range.count)
        memcpy((double *)elements(item) + at, from + range.start, range.count * sizeof(double));
}

/* Differences become counts; what overflows, as no valid histogram does, goes around. */
static void copy_deltas(const int64_t *from, pra_range range, struct ArrowArray *item, size_t at)
{
    double *to = (double *)elements(item) + at;
    uint64_t count = 0;
    for (uint32_t i = 0; i < range.count; i++) {
        count += (uint64_t)from[range.start + i];
        to[i] = (double)(int64_t)count;
    }
}

static void copy_positive_buckets(const pra_columns *c, const pra_histogram *h,
                                  struct ArrowArray *item, size_t at)
{
    if (h->flags & PRA_HISTOGRAM_FLOAT)
        copy_doubles(c->positive_counts, h->positive_counts, item, at);
    else
        copy_deltas(c->positive_deltas, h->positive_deltas, item, at);
}

static void copy_negative_buckets(const pra_columns *c, const pra_histogram *h,
                                  struct ArrowArray *item, size_t at)
{
    if (h->flags & PRA_HISTOGRAM_FLOAT)
        copy_doubles(c->negative_counts, h->negative_counts, item, at);
    else
        copy_deltas(c->negative_deltas, h->negative_deltas, item, at);
}

static void copy_custom_values(const pra_columns *c, const pra_histogram *h,
                               struct ArrowArray *item, size_t at)
{
    copy_doubles(c->custom_values, h->custom_values, item, at);
}

static const struct list lists[] = {
    {POSITIVE_SPANS, positive_spans, copy_positive_spans},
    {POSITIVE_BUCKETS, positive_buckets, copy_positive_buckets},
    {NEGATIVE_SPANS, negative_spans, copy_negative_spans},
    {NEGATIVE_BUCKETS, negative_buckets, copy_negative_buckets},
    {CUSTOM_VALUES, custom_values, copy_custom_values},
};

/* Room for total elements of a list. */
static int make_items(struct pra__arrow_export *e, struct ArrowArray *item, size_t total)
{
    item->length = (int64_t)total;
    if (item->n_children == 0)
        return pra__arrow_fill(e, item, total, sizeof(double)) ? PRA_OK : PRA_ERR_NOMEM;
    for (int64_t i = 0; i < item->n_children; i++)
        if (!pra__arrow_fill(e, item->children[i], total, sizeof(uint32_t)))
            return PRA_ERR_NOMEM;
    return PRA_OK;
}

static int fill_list(struct pra__arrow_export *e, const struct list *l, struct ArrowArray *column)
{
    const size_t n = e->c.histogram_count;
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += l->range(&e->c.histograms[i]).count;
    int rc = pra__arrow_countable(total, "buckets", e->err);
    if (rc)
        return rc;
    int32_t *offsets = pra__arrow_fill(e, column, n + 1, sizeof(*offsets));
    if (!offsets || make_items(e, column->children[0], (size_t)total))
        return PRA_ERR_NOMEM;
    column->length = (int64_t)n;
    offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const pra_histogram *h = &e->c.histograms[i];
        l->copy(&e->c, h, column->children[0], (size_t)offsets[i]);
        offsets[i + 1] = offsets[i] + (int32_t)l->range(h).count;
    }
    return PRA_OK;
}

int pra__arrow_export_histograms(struct pra__arrow_export *e, struct ArrowArray *out)
{
    struct ArrowArray *const *column = out->children;
    const size_t n = e->c.histogram_count;
    out->length = (int64_t)n;
    int rc = pra__arrow_series_numbers(e, e->c.histogram_offsets, n, column[SERIES]);
    if (rc == PRA_OK)
        rc = fill_times(e, column);
    if (rc == PRA_OK)
        rc = fill_kind(e, column);
    if (rc == PRA_OK)
        rc = fill_numbers(e, column);
    for (size_t i = 0; rc == PRA_OK && i < sizeof(lists) / sizeof(lists[0]); i++)
        rc = fill_list(e, &lists[i], column[lists[i].column]);
    return rc;
}

/* ---- metadata */

static const char *const metric_types[] = {"unknown",        "counter", "gauge", "histogram",
                                           "gaugehistogram", "summary", "info",  "stateset"};

static int is_of_series(const pra_columns *c, size_t i)
{
    return c->metadata[i].series != UINT32_MAX;
}

static void copy_text(char *to, pra_str s)
{
    const int valid = pra__utf8_valid(s);
    for (size_t i = 0; i < s.len; i++)
        to[i] = valid || (unsigned char)s.ptr[i] < 128 ? s.ptr[i] : '?';
}

static pra_span text_of(const pra_metadata *entry, size_t field)
{
    pra_span span;
    memcpy(&span, (const char *)entry + field, sizeof(span));
    return span;
}

/* One of the texts of each entry; field says where in pra_metadata its span is. */
static int fill_texts(struct pra__arrow_export *e, size_t field, struct ArrowArray *column)
{
    const size_t n = e->c.metadata_count;
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += text_of(&e->c.metadata[i], field).len;
    int rc = pra__arrow_countable(total, "bytes of metadata", e->err);
    if (rc)
        return rc;
    int32_t *offsets = pra__arrow_fill(e, column, n + 1, sizeof(*offsets));
    char *text = pra__arrow_buffer(e->hold, (size_t)total, 1);
    if (!offsets || !text)
        return PRA_ERR_NOMEM;
    column->length = (int64_t)n;
    column->buffers[2] = text;
    offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const pra_span span = text_of(&e->c.metadata[i], field);
        copy_text(text + offsets[i], (pra_str){e->c.base + span.off, span.len});
        offsets[i + 1] = offsets[i] + (int32_t)span.len;
    }
    return PRA_OK;
}

static int fill_described(struct pra__arrow_export *e, struct ArrowArray *series,
                          struct ArrowArray *type)
{
    const size_t n = e->c.metadata_count;
    uint32_t *number = pra__arrow_fill(e, series, n, sizeof(*number));
    int32_t *index = pra__arrow_fill(e, type, n, sizeof(*index));
    if (!number || !index)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const pra_metadata *m = &e->c.metadata[i];
        number[i] = m->series;
        index[i] = m->type >= 0 && m->type <= PRA_METRIC_STATESET ? m->type : PRA_METRIC_UNKNOWN;
    }
    int rc = pra__arrow_validity(e, series, n, is_of_series);
    return rc ? rc
              : pra__arrow_constants(e, metric_types,
                                     sizeof(metric_types) / sizeof(metric_types[0]), type);
}

int pra__arrow_export_metadata(struct pra__arrow_export *e, struct ArrowArray *out)
{
    struct ArrowArray *const *column = out->children;
    out->length = (int64_t)e->c.metadata_count;
    int rc = fill_described(e, column[0], column[2]);
    if (rc == PRA_OK)
        rc = fill_texts(e, offsetof(pra_metadata, family), column[1]);
    if (rc == PRA_OK)
        rc = fill_texts(e, offsetof(pra_metadata, help), column[3]);
    return rc ? rc : fill_texts(e, offsetof(pra_metadata, unit), column[4]);
}
