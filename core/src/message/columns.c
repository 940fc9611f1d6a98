/* SPDX-License-Identifier: Apache-2.0 */
#include "message/columns.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

_Static_assert(sizeof(pra_span) == 8 && sizeof(pra_label_span) == 16, "fixed layout");
_Static_assert(sizeof(pra_histogram) == 128 && sizeof(pra_metadata) == 32, "fixed layout");
_Static_assert(sizeof(pra_bucket_span) == 8 && sizeof(pra_range) == 8, "fixed layout");
_Static_assert(sizeof(pra_symbol_refs) == 8, "fixed layout");

static const unsigned char element_size[PRA__COL_COUNT] = {
    [PRA__COL_TEXT] = 1,
    [PRA__COL_LABEL_OFFSETS] = sizeof(uint32_t),
    [PRA__COL_SAMPLE_OFFSETS] = sizeof(uint32_t),
    [PRA__COL_EXEMPLAR_OFFSETS] = sizeof(uint32_t),
    [PRA__COL_HISTOGRAM_OFFSETS] = sizeof(uint32_t),
    [PRA__COL_LABELS] = sizeof(pra_label_span),
    [PRA__COL_LABEL_REFS] = sizeof(pra_symbol_refs),
    [PRA__COL_TIMESTAMPS] = sizeof(int64_t),
    [PRA__COL_VALUES] = sizeof(double),
    [PRA__COL_START_TIMESTAMPS] = sizeof(int64_t),
    [PRA__COL_EXEMPLAR_TIMESTAMPS] = sizeof(int64_t),
    [PRA__COL_EXEMPLAR_VALUES] = sizeof(double),
    [PRA__COL_EXEMPLAR_LABEL_OFFSETS] = sizeof(uint32_t),
    [PRA__COL_EXEMPLAR_LABELS] = sizeof(pra_label_span),
    [PRA__COL_HISTOGRAMS] = sizeof(pra_histogram),
    [PRA__COL_POSITIVE_SPANS] = sizeof(pra_bucket_span),
    [PRA__COL_NEGATIVE_SPANS] = sizeof(pra_bucket_span),
    [PRA__COL_POSITIVE_DELTAS] = sizeof(int64_t),
    [PRA__COL_NEGATIVE_DELTAS] = sizeof(int64_t),
    [PRA__COL_POSITIVE_COUNTS] = sizeof(double),
    [PRA__COL_NEGATIVE_COUNTS] = sizeof(double),
    [PRA__COL_CUSTOM_VALUES] = sizeof(double),
    [PRA__COL_METADATA] = sizeof(pra_metadata),
    [PRA__COL_SYMBOLS] = sizeof(pra_span),
    [PRA__COL_FAULTS] = sizeof(struct pra__fault),
    [PRA__COL_RESULT_OFFSETS] = sizeof(uint32_t),
    [PRA__COL_STRING_SLOTS] = sizeof(uint64_t),
    [PRA__COL_STRINGS] = sizeof(struct pra__string),
    [PRA__COL_STRING_REFS] = sizeof(uint32_t),
};

void pra__columns_init(struct pra__columns *c, const pra_alloc *alloc)
{
    *c = (struct pra__columns){.alloc = pra__alloc_copy(alloc), .budget = SIZE_MAX};
}

static void release(struct pra__columns *c, struct pra__column *col)
{
    size_t bytes = col->cap * element_size[col - c->col];
    pra__free(&c->alloc, col->data, bytes);
    c->held -= bytes;
    *col = (struct pra__column){0};
}

void pra__columns_fini(struct pra__columns *c)
{
    for (int i = 0; i < PRA__COL_COUNT; i++)
        release(c, &c->col[i]);
}

static struct pra__column *largest(struct pra__columns *c)
{
    int at = 0;
    for (int i = 1; i < PRA__COL_COUNT; i++)
        if (c->col[i].cap * element_size[i] > c->col[at].cap * element_size[at])
            at = i;
    return &c->col[at];
}

void pra__columns_reset(struct pra__columns *c, size_t retain)
{
    while (c->held > retain)
        release(c, largest(c));
    for (int i = 0; i < PRA__COL_COUNT; i++)
        c->col[i].len = 0;
    c->series = 0;
    c->base = NULL;
    c->base_len = 0;
}

/* The old and the new block of a column both count while the allocator may hold both. */
static int resize(struct pra__columns *c, enum pra__column_id id, size_t cap)
{
    struct pra__column *col = &c->col[id];
    size_t old = col->cap * element_size[id];
    size_t bytes = cap * element_size[id];
    void *data = pra__realloc(&c->alloc, col->data, old, bytes);
    if (!data)
        return PRA_ERR_NOMEM;
    col->data = data;
    col->cap = cap;
    c->held += bytes - old;
    return PRA_OK;
}

static size_t budget_left(const struct pra__columns *c)
{
    return c->budget > c->held ? c->budget - c->held : 0;
}

static int grow(struct pra__columns *c, enum pra__column_id id, size_t need)
{
    size_t room = budget_left(c) / element_size[id];
    if (need > room)
        return PRA_ERR_MEMORY_BUDGET;
    if (need > UINT32_MAX)
        return PRA_ERR_NOMEM;
    size_t cap = c->col[id].cap;
    cap = cap ? cap * 2 : 16;
    if (cap > UINT32_MAX) /* offsets have 32 bits */
        cap = UINT32_MAX;
    if (cap < need)
        cap = need;
    return resize(c, id, cap < room ? cap : room);
}

int pra__columns_reserve(struct pra__columns *c, enum pra__column_id first,
                         enum pra__column_id last, size_t need)
{
    for (enum pra__column_id id = first; id <= last; id++) {
        int rc = need <= c->col[id].cap ? PRA_OK : grow(c, id, need);
        if (rc)
            return rc;
    }
    return PRA_OK;
}

void pra__columns_expect(struct pra__columns *c, enum pra__column_id first,
                         enum pra__column_id last, size_t count)
{
    for (enum pra__column_id id = first; id <= last; id++)
        if (count && c->col[id].cap == 0 && count < budget_left(c) / 16 / element_size[id])
            (void)resize(c, id, count);
}

void pra__columns_append(struct pra__columns *c, enum pra__column_id id, const void *array,
                         size_t start, size_t count)
{
    size_t size = element_size[id];
    struct pra__column *col = &c->col[id];
    if (count)
        memcpy((char *)col->data + col->len * size, (const char *)array + start * size,
               count * size);
    col->len += count;
}

void pra__columns_move(struct pra__columns *c, enum pra__column_id id, size_t to, size_t start,
                       size_t count)
{
    size_t size = element_size[id];
    char *data = c->col[id].data;
    if (count && to != start)
        memmove(data + to * size, data + start * size, count * size);
}

int pra__columns_mark_series(struct pra__columns *c)
{
    size_t i = c->series;
    if (i >= pra__columns_cap(c, PRA__COL_LABEL_OFFSETS, PRA__COL_HISTOGRAM_OFFSETS)) {
        int rc = pra__columns_reserve(c, PRA__COL_LABEL_OFFSETS, PRA__COL_HISTOGRAM_OFFSETS, i + 1);
        if (rc)
            return rc;
    }
    uint32_t *labels = c->col[PRA__COL_LABEL_OFFSETS].data;
    uint32_t *samples = c->col[PRA__COL_SAMPLE_OFFSETS].data;
    uint32_t *exemplars = c->col[PRA__COL_EXEMPLAR_OFFSETS].data;
    uint32_t *histograms = c->col[PRA__COL_HISTOGRAM_OFFSETS].data;
    labels[i] = (uint32_t)c->col[PRA__COL_LABELS].len;
    samples[i] = (uint32_t)c->col[PRA__COL_TIMESTAMPS].len;
    exemplars[i] = (uint32_t)c->col[PRA__COL_EXEMPLAR_TIMESTAMPS].len;
    histograms[i] = (uint32_t)c->col[PRA__COL_HISTOGRAMS].len;
    return PRA_OK;
}

int pra__columns_fill_starts(struct pra__columns *c, size_t count)
{
    struct pra__column *col = &c->col[PRA__COL_START_TIMESTAMPS];
    if (count <= col->len)
        return PRA_OK;
    int rc = pra__columns_room(c, PRA__COL_START_TIMESTAMPS, count - col->len);
    if (rc)
        return rc;
    memset((int64_t *)col->data + col->len, 0, (count - col->len) * sizeof(int64_t));
    col->len = count;
    return PRA_OK;
}

int pra__exemplar_begin(struct pra__columns *c)
{
    size_t i = c->col[PRA__COL_EXEMPLAR_TIMESTAMPS].len;
    int rc = pra__columns_reserve(c, PRA__COL_EXEMPLAR_TIMESTAMPS, PRA__COL_EXEMPLAR_LABEL_OFFSETS,
                                  i + 2);
    uint32_t *labels = c->col[PRA__COL_EXEMPLAR_LABEL_OFFSETS].data;
    if (rc == PRA_OK)
        labels[i] = (uint32_t)c->col[PRA__COL_EXEMPLAR_LABELS].len;
    return rc;
}

void pra__exemplar_end(struct pra__columns *c, int64_t timestamp_ms, const double *value)
{
    size_t i = c->col[PRA__COL_EXEMPLAR_TIMESTAMPS].len++;
    PRA__COLUMN(int64_t, c, PRA__COL_EXEMPLAR_TIMESTAMPS)[i] = timestamp_ms;
    memcpy(PRA__COLUMN(double, c, PRA__COL_EXEMPLAR_VALUES) + i, value, sizeof(*value));
    uint32_t *labels = c->col[PRA__COL_EXEMPLAR_LABEL_OFFSETS].data;
    labels[i + 1] = (uint32_t)c->col[PRA__COL_EXEMPLAR_LABELS].len;
}

const enum pra__column_id pra__bucket_columns[PRA__BUCKET_COLUMNS] = {
    PRA__COL_POSITIVE_SPANS,  PRA__COL_NEGATIVE_SPANS,  PRA__COL_POSITIVE_DELTAS,
    PRA__COL_NEGATIVE_DELTAS, PRA__COL_POSITIVE_COUNTS, PRA__COL_NEGATIVE_COUNTS,
    PRA__COL_CUSTOM_VALUES,
};

_Static_assert(offsetof(pra_histogram, custom_values) - offsetof(pra_histogram, positive_spans) ==
                   (PRA__BUCKET_COLUMNS - 1) * sizeof(pra_range),
               "the ranges stand side by side");

pra_range *pra__bucket_range(pra_histogram *h, int i)
{
    return (pra_range *)((char *)h + offsetof(pra_histogram, positive_spans)) + i;
}

const void *pra__bucket_source(const pra_columns *columns, int i)
{
    const void *const sources[PRA__BUCKET_COLUMNS] = {
        columns->bucket_spans,    columns->negative_bucket_spans, columns->positive_deltas,
        columns->negative_deltas, columns->positive_counts,       columns->negative_counts,
        columns->custom_values,
    };
    return sources[i];
}

static int inside(pra_range range, size_t count)
{
    return range.start <= count && range.count <= count - range.start;
}

int pra__check_bucket_ranges(const pra_columns *c, const pra_histogram *h)
{
    return inside(h->positive_spans, c->bucket_span_count) &&
                   inside(h->negative_spans, c->negative_bucket_span_count) &&
                   inside(h->positive_deltas, c->positive_delta_count) &&
                   inside(h->negative_deltas, c->negative_delta_count) &&
                   inside(h->positive_counts, c->positive_count_count) &&
                   inside(h->negative_counts, c->negative_count_count) &&
                   inside(h->custom_values, c->custom_value_count)
               ? PRA_OK
               : PRA_ERR_INVALID_ARG;
}

int pra__histogram_begin(struct pra__columns *c, pra_histogram *h)
{
    int rc = pra__columns_room(c, PRA__COL_HISTOGRAMS, 1);
    *h = (pra_histogram){0};
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++)
        pra__bucket_range(h, i)->start = (uint32_t)c->col[pra__bucket_columns[i]].len;
    return rc;
}

void pra__histogram_end(struct pra__columns *c, pra_histogram *h)
{
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++) {
        pra_range *range = pra__bucket_range(h, i);
        range->count = (uint32_t)c->col[pra__bucket_columns[i]].len - range->start;
    }
    memcpy(PRA__COLUMN(pra_histogram, c, PRA__COL_HISTOGRAMS) + c->col[PRA__COL_HISTOGRAMS].len++,
           h, sizeof(*h));
}

/* ---- what a caller sees */

static const uint32_t no_offsets[1] = {0};

/* Before anything was stored an offset column is missing, or holds what an earlier message left. */
static const uint32_t *offsets(const struct pra__columns *c, enum pra__column_id id, size_t count)
{
    return count ? c->col[id].data : no_offsets;
}

/* A column that not every message has. */
static const void *optional(const struct pra__columns *c, enum pra__column_id id)
{
    return c->col[id].len ? c->col[id].data : NULL;
}

static void view_symbols(const struct pra__columns *c, pra_columns *v)
{
    v->symbols = optional(c, PRA__COL_SYMBOLS);
    v->symbol_count = c->col[PRA__COL_SYMBOLS].len;
    v->label_refs = optional(c, PRA__COL_LABEL_REFS);
}

static void view_series(const struct pra__columns *c, pra_columns *v)
{
    v->base = c->base;
    v->base_len = c->base_len;
    v->series_count = c->series;
    v->label_offsets = offsets(c, PRA__COL_LABEL_OFFSETS, c->series);
    v->labels = c->col[PRA__COL_LABELS].data;
    v->label_count = c->col[PRA__COL_LABELS].len;
    v->sample_offsets = offsets(c, PRA__COL_SAMPLE_OFFSETS, c->series);
    v->timestamps_ms = c->col[PRA__COL_TIMESTAMPS].data;
    v->values = c->col[PRA__COL_VALUES].data;
    v->sample_count = c->col[PRA__COL_TIMESTAMPS].len;
    v->start_timestamps_ms = optional(c, PRA__COL_START_TIMESTAMPS);
    v->exemplar_offsets = offsets(c, PRA__COL_EXEMPLAR_OFFSETS, c->series);
    v->exemplar_timestamps_ms = c->col[PRA__COL_EXEMPLAR_TIMESTAMPS].data;
    v->exemplar_values = c->col[PRA__COL_EXEMPLAR_VALUES].data;
    v->exemplar_count = c->col[PRA__COL_EXEMPLAR_TIMESTAMPS].len;
    v->exemplar_label_offsets = offsets(c, PRA__COL_EXEMPLAR_LABEL_OFFSETS, v->exemplar_count);
    v->exemplar_labels = c->col[PRA__COL_EXEMPLAR_LABELS].data;
    v->exemplar_label_count = c->col[PRA__COL_EXEMPLAR_LABELS].len;
    v->metadata = c->col[PRA__COL_METADATA].data;
    v->metadata_count = c->col[PRA__COL_METADATA].len;
}

static void view_histograms(const struct pra__columns *c, pra_columns *v)
{
    v->histogram_offsets = offsets(c, PRA__COL_HISTOGRAM_OFFSETS, c->series);
    v->histograms = c->col[PRA__COL_HISTOGRAMS].data;
    v->histogram_count = c->col[PRA__COL_HISTOGRAMS].len;
    v->bucket_spans = c->col[PRA__COL_POSITIVE_SPANS].data;
    v->bucket_span_count = c->col[PRA__COL_POSITIVE_SPANS].len;
    v->negative_bucket_spans = c->col[PRA__COL_NEGATIVE_SPANS].data;
    v->negative_bucket_span_count = c->col[PRA__COL_NEGATIVE_SPANS].len;
    v->positive_deltas = c->col[PRA__COL_POSITIVE_DELTAS].data;
    v->positive_delta_count = c->col[PRA__COL_POSITIVE_DELTAS].len;
    v->negative_deltas = c->col[PRA__COL_NEGATIVE_DELTAS].data;
    v->negative_delta_count = c->col[PRA__COL_NEGATIVE_DELTAS].len;
    v->positive_counts = c->col[PRA__COL_POSITIVE_COUNTS].data;
    v->positive_count_count = c->col[PRA__COL_POSITIVE_COUNTS].len;
    v->negative_counts = c->col[PRA__COL_NEGATIVE_COUNTS].data;
    v->negative_count_count = c->col[PRA__COL_NEGATIVE_COUNTS].len;
    v->custom_values = c->col[PRA__COL_CUSTOM_VALUES].data;
    v->custom_value_count = c->col[PRA__COL_CUSTOM_VALUES].len;
}

int pra__columns_view(const struct pra__columns *c, pra_columns *out)
{
    pra_columns view = {.size = sizeof(view)};
    view_series(c, &view);
    view_histograms(c, &view);
    view_symbols(c, &view);
    return pra__struct_out(out, &view, sizeof(view));
}

int pra_columns_series(const pra_columns *columns, size_t index, pra_series *out)
{
    if (!columns || !out || index >= columns->series_count)
        return PRA_ERR_INVALID_ARG;
    const uint32_t *labels = columns->label_offsets + index;
    const uint32_t *samples = columns->sample_offsets + index;
    const uint32_t *exemplars = columns->exemplar_offsets + index;
    const uint32_t *histograms = columns->histogram_offsets + index;
    pra_series s = {.size = sizeof(s), .base = columns->base};
    s.label_count = labels[1] - labels[0];
    s.sample_count = samples[1] - samples[0];
    s.histogram_count = histograms[1] - histograms[0];
    s.exemplars = (pra_range){exemplars[0], exemplars[1] - exemplars[0]};
    if (s.label_count)
        s.labels = columns->labels + labels[0];
    if (s.label_count && columns->label_refs)
        s.label_refs = columns->label_refs + labels[0];
    if (s.sample_count) {
        s.timestamps_ms = columns->timestamps_ms + samples[0];
        s.values = columns->values + samples[0];
        if (columns->start_timestamps_ms)
            s.start_timestamps_ms = columns->start_timestamps_ms + samples[0];
    }
    if (s.histogram_count)
        s.histograms = columns->histograms + histograms[0];
    return pra__struct_out(out, &s, sizeof(s));
}
