/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to the memory store. A sample behind the end of its series is appended at once. The
 * others, the late ones, are collected and merged in at the end of the request: put in one by one,
 * each would move all that is behind it, and a request can bring a million of them. */
#include <stdlib.h>
#include <string.h>

#include "memory_store.h"

typedef struct late_sample {
    mem_series *series;
    int64_t timestamp_ms;
    uint32_t sample; /* its place in the request */
} late_sample;

typedef struct mem_batch {
    mem_store *store;
    const pra_columns *cols;
    pra_write_result *result;
    late_sample *late;
    size_t late_count;
    size_t late_cap;
    pra__conflicts conflicts; /* of one series of the request, */
    size_t conflicts_of;      /* this one */
} mem_batch;

static int reserve_samples(mem_store *store, mem_series *series, size_t extra)
{
    size_t need = series->sample_count + extra;
    if (pra__store_grow(&store->alloc, (void **)&series->timestamps_ms, &series->timestamp_cap,
                        need, sizeof *series->timestamps_ms) != 0)
        return PRA_ERR_NOMEM;
    return pra__store_grow(&store->alloc, (void **)&series->values, &series->value_cap, need,
                           sizeof *series->values);
}

/* Values move as memory: a signalling NaN must not pass through a floating-point register. */
static void place(const mem_batch *b, mem_series *series, size_t at, uint32_t sample)
{
    series->timestamps_ms[at] = b->cols->timestamps_ms[sample];
    memcpy(&series->values[at], &b->cols->values[sample], sizeof *series->values);
}

static void count_inserted(mem_batch *b, size_t count)
{
    atomic_fetch_add(&b->store->sample_count, count);
    atomic_fetch_add(&b->store->inserted, count);
}

/* ---- late samples */

static int put_aside(mem_batch *b, mem_series *series, uint32_t sample)
{
    if (pra__store_grow(&b->store->alloc, (void **)&b->late, &b->late_cap, b->late_count + 1,
                        sizeof *b->late) != 0)
        return PRA_ERR_NOMEM;
    b->late[b->late_count++] = (late_sample){series, b->cols->timestamps_ms[sample], sample};
    return PRA_OK;
}

static int compare_late(const void *a, const void *b)
{
    const late_sample *x = a, *y = b;
    if (x->series != y->series)
        return x->series->id < y->series->id ? -1 : 1;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    return x->sample < y->sample ? -1 : 1;
}

/* The series of the request that a sample of it belongs to. */
static size_t series_of(const pra_columns *cols, uint32_t sample)
{
    size_t low = 0, high = cols->series_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (cols->sample_offsets[mid + 1] <= sample)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void report_conflicts(mem_batch *b)
{
    pra__conflicts_report(&b->conflicts, b->result, b->conflicts_of);
    b->conflicts = (pra__conflicts){0};
}

static void refuse_duplicate(mem_batch *b, const late_sample *late, const double *stored)
{
    uint64_t bits = pra__double_bits(stored);
    uint64_t received = pra__double_bits(&b->cols->values[late->sample]);
    atomic_fetch_add(bits == received ? &b->store->duplicates : &b->store->refused, 1);
    if (bits == received)
        return;
    size_t series = series_of(b->cols, late->sample);
    if (series != b->conflicts_of)
        report_conflicts(b);
    b->conflicts_of = series;
    pra__conflicts_add(&b->conflicts, late->timestamp_ms, bits, received);
}

/* The value there is for the time of a sample, in the store or before it in the request. */
static const double *find_stored(const mem_batch *b, const late_sample *late,
                                 const late_sample *before)
{
    const mem_series *series = late->series;
    if (before && before->timestamp_ms == late->timestamp_ms)
        return &b->cols->values[before->sample];
    size_t at = pra__mem_sample_at(series, late->timestamp_ms);
    bool found = at < series->sample_count && series->timestamps_ms[at] == late->timestamp_ms;
    return found ? &series->values[at] : NULL;
}

/* Merges samples with new times, in order, into their series. */
static int insert_all(mem_batch *b, const late_sample *late, size_t count)
{
    mem_series *series = late->series;
    if (reserve_samples(b->store, series, count) != 0)
        return PRA_ERR_NOMEM;
    size_t total = series->sample_count + count;
    for (size_t i = count; i-- > 0;) { /* sample_count: those not yet in their place */
        size_t at = pra__mem_sample_at(series, late[i].timestamp_ms);
        size_t after = series->sample_count - at;
        memmove(series->timestamps_ms + at + i + 1, series->timestamps_ms + at,
                after * sizeof *series->timestamps_ms);
        memmove(series->values + at + i + 1, series->values + at, after * sizeof *series->values);
        place(b, series, at + i, late[i].sample);
        series->sample_count = at;
    }
    series->sample_count = total;
    count_inserted(b, count);
    return PRA_OK;
}

/* Late samples of one series, in order. */
static int merge_series(mem_batch *b, late_sample *late, size_t count)
{
    size_t fresh = 0;
    for (size_t i = 0; i < count; i++) {
        const double *stored = find_stored(b, &late[i], fresh ? &late[fresh - 1] : NULL);
        if (stored)
            refuse_duplicate(b, &late[i], stored);
        else
            late[fresh++] = late[i];
    }
    return fresh ? insert_all(b, late, fresh) : PRA_OK;
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

/* ---- the request */

static int append_or_put_aside(mem_batch *b, mem_series *series, uint32_t sample)
{
    size_t count = series->sample_count;
    if (count && b->cols->timestamps_ms[sample] <= series->timestamps_ms[count - 1])
        return put_aside(b, series, sample);
    if (reserve_samples(b->store, series, 1) != 0)
        return PRA_ERR_NOMEM;
    place(b, series, count, sample);
    series->sample_count++;
    count_inserted(b, 1);
    return PRA_OK;
}

static int write_series(mem_batch *b, mem_tenant *tenant, size_t i)
{
    const pra_columns *cols = b->cols;
    uint32_t first = cols->sample_offsets[i], last = cols->sample_offsets[i + 1];
    if (first == last)
        return PRA_OK;
    uint32_t label = cols->label_offsets[i];
    mem_series *series = pra__mem_series(b->store, tenant, cols->base, cols->labels + label,
                                         cols->label_offsets[i + 1] - label);
    if (!series)
        return PRA_ERR_NOMEM;
    int code = PRA_OK;
    for (uint32_t k = first; code == PRA_OK && k < last; k++)
        code = append_or_put_aside(b, series, k);
    if (series->sample_count == 0)
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
    pra__free(&store->alloc, b.late, b.late_cap * sizeof *b.late);
    return code;
}
