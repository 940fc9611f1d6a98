/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to the memory store. A point behind the end of its series is appended at once. The
 * others, the late ones, are collected and merged in at the end of the request: put in one by one,
 * each would move all that is behind it, and a request can bring a million of them. */
#include <stdlib.h>
#include <string.h>

#include "memory_store.h"

/* A sample or histogram of the request. */
typedef struct point {
    mem_series *series;
    int64_t timestamp_ms;
    mem_histogram *histogram; /* NULL for a sample; owned until it is placed */
    uint32_t datum;           /* number of a sample, or sample_count + number of a histogram */
} point;

typedef struct mem_batch {
    mem_store *store;
    const pra_columns *cols;
    pra_write_result *result;
    point *late;
    size_t late_count;
    size_t late_cap;
    pra__conflicts conflicts[2]; /* of one series of the request, samples and histograms */
    size_t conflicts_of;         /* this one */
} mem_batch;

/* ---- data of the request */

static bool is_histogram(const pra_columns *cols, uint32_t datum)
{
    return datum >= cols->sample_count;
}

static int32_t kind_of(const point *p)
{
    return p->histogram ? PRA_DATUM_HISTOGRAM : PRA_DATUM_SAMPLE;
}

static mem_histogram *encode_histogram(mem_store *store, const pra_columns *cols, size_t index)
{
    pra_buffer_reset(store->scratch);
    if (pra_histogram_encode(cols, index, store->scratch) != PRA_OK)
        return NULL;
    size_t len = pra_buffer_len(store->scratch);
    mem_histogram *histogram = pra__malloc(&store->alloc, sizeof *histogram + len);
    if (!histogram)
        return NULL;
    histogram->len = len;
    memcpy(histogram->data, pra_buffer_data(store->scratch), len);
    return histogram;
}

static int make_point(const mem_batch *b, mem_series *series, uint32_t datum, point *out)
{
    const pra_columns *cols = b->cols;
    *out = (point){.series = series, .datum = datum};
    if (!is_histogram(cols, datum)) {
        out->timestamp_ms = cols->timestamps_ms[datum];
        return PRA_OK;
    }
    size_t index = datum - cols->sample_count;
    out->timestamp_ms = cols->histograms[index].timestamp_ms;
    out->histogram = encode_histogram(b->store, cols, index);
    return out->histogram ? PRA_OK : PRA_ERR_NOMEM;
}

/* The series of the request that a datum of it belongs to. */
static size_t series_of(const pra_columns *cols, uint32_t datum)
{
    bool histogram = is_histogram(cols, datum);
    const uint32_t *offsets = histogram ? cols->histogram_offsets : cols->sample_offsets;
    size_t index = histogram ? datum - cols->sample_count : datum;
    size_t low = 0, high = cols->series_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (offsets[mid + 1] <= index)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Values move as memory: a signalling NaN must not pass through a floating-point register. */
static void place(const mem_batch *b, size_t at, point *p)
{
    mem_series *series = p->series;
    series->timestamps_ms[at] = p->timestamp_ms;
    memset(&series->values[at], 0, sizeof *series->values);
    if (!p->histogram)
        memcpy(&series->values[at], &b->cols->values[p->datum], sizeof *series->values);
    if (series->histograms)
        series->histograms[at] = p->histogram;
    atomic_fetch_add(&b->store->stats[kind_of(p)].held, 1);
    atomic_fetch_add(&b->store->stats[kind_of(p)].inserted, 1);
    p->histogram = NULL;
}

/* ---- late points */

static int put_aside(mem_batch *b, const point *p)
{
    if (pra__store_grow(&b->store->alloc, (void **)&b->late, &b->late_cap, b->late_count + 1,
                        sizeof *b->late) != 0)
        return PRA_ERR_NOMEM;
    b->late[b->late_count++] = *p;
    return PRA_OK;
}

static int compare_late(const void *a, const void *b)
{
    const point *x = a, *y = b;
    if (x->series != y->series)
        return x->series->id < y->series->id ? -1 : 1;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    return x->datum < y->datum ? -1 : 1;
}

/* What there is for the time of a point, in the store or before it in the request. */
typedef struct stored {
    const double *value;
    const mem_histogram *histogram;
} stored;

static bool find_stored(const mem_batch *b, const point *late, const point *before, stored *out)
{
    const mem_series *series = late->series;
    *out = (stored){0};
    if (before && before->timestamp_ms == late->timestamp_ms) {
        out->histogram = before->histogram;
        out->value = before->histogram ? NULL : &b->cols->values[before->datum];
        return true;
    }
    size_t at = pra__mem_point_at(series, late->timestamp_ms);
    if (at == series->point_count || series->timestamps_ms[at] != late->timestamp_ms)
        return false;
    out->histogram = pra__mem_histogram(series, at);
    out->value = &series->values[at];
    return true;
}

static pra__datum datum_of(const mem_histogram *histogram, const double *value)
{
    return (pra__datum){histogram != NULL, histogram ? 0 : pra__double_bits(value)};
}

static bool same_histogram(const mem_histogram *a, const mem_histogram *b)
{
    return a && b && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void report_conflicts(mem_batch *b)
{
    for (int i = 0; i < 2; i++)
        pra__conflicts_report(&b->conflicts[i], b->result, b->conflicts_of);
}

static void refuse_duplicate(mem_batch *b, const point *late, const stored *stored)
{
    pra__datum there = datum_of(stored->histogram, stored->value);
    pra__datum came =
        datum_of(late->histogram, late->histogram ? NULL : &b->cols->values[late->datum]);
    bool same = late->histogram ? same_histogram(late->histogram, stored->histogram)
                                : !stored->histogram && there.bits == came.bits;
    mem_stats *stats = &b->store->stats[kind_of(late)];
    atomic_fetch_add(same ? &stats->duplicates : &stats->refused, 1);
    if (same)
        return;
    size_t series = series_of(b->cols, late->datum);
    if (series != b->conflicts_of)
        report_conflicts(b);
    b->conflicts_of = series;
    pra__conflicts_add(&b->conflicts[came.histogram], late->timestamp_ms, there, came);
}

/* Merges points with new times, in order, into their series. */
static int insert_all(mem_batch *b, point *late, size_t count, bool histograms)
{
    mem_series *series = late->series;
    if (pra__mem_reserve(b->store, series, count, histograms) != 0)
        return PRA_ERR_NOMEM;
    size_t total = series->point_count + count;
    for (size_t i = count; i-- > 0;) { /* point_count: those not yet in their place */
        size_t at = pra__mem_point_at(series, late[i].timestamp_ms);
        pra__mem_open_gap(series, at, i + 1);
        place(b, at + i, &late[i]);
        series->point_count = at;
    }
    series->point_count = total;
    return PRA_OK;
}

/* Late points of one series, in order. */
static int merge_series(mem_batch *b, point *late, size_t count)
{
    size_t fresh = 0;
    bool histograms = false;
    for (size_t i = 0; i < count; i++) {
        stored stored;
        if (find_stored(b, &late[i], fresh ? &late[fresh - 1] : NULL, &stored)) {
            refuse_duplicate(b, &late[i], &stored);
            continue;
        }
        histograms |= late[i].histogram != NULL;
        point p = late[i];
        late[i] = late[fresh]; /* keeps hold of the histograms that were refused */
        late[fresh++] = p;
    }
    return fresh ? insert_all(b, late, fresh, histograms) : PRA_OK;
}

static int merge_late(mem_batch *b)
{
    int code = PRA_OK;
    if (b->late_count)
        qsort(b->late, b->late_count, sizeof *b->late, compare_late);
    for (size_t i = 0, end; code == PRA_OK && i < b->late_count; i = end) {
        for (end = i + 1; end < b->late_count && b->late[end].series == b->late[i].series; end++)
            ;
        code = merge_series(b, b->late + i, end - i);
    }
    report_conflicts(b);
    return code;
}

static void forget_late(mem_batch *b)
{
    for (size_t i = 0; i < b->late_count; i++)
        pra__mem_histogram_free(b->store, b->late[i].histogram);
    pra__free(&b->store->alloc, b->late, b->late_cap * sizeof *b->late);
}

/* ---- the request */

static int append_or_put_aside(mem_batch *b, mem_series *series, uint32_t datum)
{
    size_t count = series->point_count;
    point p;
    int code = make_point(b, series, datum, &p);
    if (code != PRA_OK)
        return code;
    if (count && p.timestamp_ms <= series->timestamps_ms[count - 1]) {
        code = put_aside(b, &p);
    } else if ((code = pra__mem_reserve(b->store, series, 1, p.histogram != NULL)) == PRA_OK) {
        place(b, count, &p);
        series->point_count++;
    }
    if (code != PRA_OK)
        pra__mem_histogram_free(b->store, p.histogram);
    return code;
}

static int add_exemplar(mem_batch *b, mem_series *series, size_t index)
{
    mem_stats *stats = &b->store->stats[PRA_DATUM_EXEMPLAR];
    int there = pra__mem_exemplar_add(b->store, series, b->cols, index);
    if (there >= 0)
        atomic_fetch_add(there ? &stats->duplicates : &stats->inserted, 1);
    return there < 0 ? there : PRA_OK;
}

static int write_series(mem_batch *b, mem_tenant *tenant, size_t i)
{
    const pra_columns *cols = b->cols;
    const uint32_t *samples = cols->sample_offsets + i, *exemplars = cols->exemplar_offsets + i;
    const uint32_t *histograms = cols->histogram_offsets + i;
    if (samples[0] == samples[1] && histograms[0] == histograms[1] && exemplars[0] == exemplars[1])
        return PRA_OK;
    uint32_t label = cols->label_offsets[i], first_histogram = (uint32_t)cols->sample_count;
    mem_series *series = pra__mem_series(b->store, tenant, cols->base, cols->labels + label,
                                         cols->label_offsets[i + 1] - label);
    if (!series)
        return PRA_ERR_NOMEM;
    int code = PRA_OK;
    for (uint32_t k = samples[0]; code == PRA_OK && k < samples[1]; k++)
        code = append_or_put_aside(b, series, k);
    for (uint32_t k = histograms[0]; code == PRA_OK && k < histograms[1]; k++)
        code = append_or_put_aside(b, series, first_histogram + k);
    for (uint32_t k = exemplars[0]; code == PRA_OK && k < exemplars[1]; k++)
        code = add_exemplar(b, series, k);
    if (series->point_count == 0 && series->exemplars.count == 0)
        pra__mem_series_remove(b->store, tenant, series);
    return code;
}

int pra__mem_write(mem_store *store, mem_tenant *tenant, const pra_columns *cols,
                   pra_write_result *result)
{
    mem_batch b = {.store = store, .cols = cols, .result = result};
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < cols->series_count; i++)
        code = write_series(&b, tenant, i);
    if (code == PRA_OK)
        code = merge_late(&b);
    for (size_t i = 0; code == PRA_OK && i < cols->metadata_count; i++)
        if (!pra__metadata_repeats(cols, i))
            code = pra__mem_metadata_put(store, tenant, cols, &cols->metadata[i]);
    forget_late(&b);
    return code;
}
