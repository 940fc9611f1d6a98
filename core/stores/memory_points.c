/* SPDX-License-Identifier: Apache-2.0 */
/* What a series of the memory store holds: points in columns, exemplars; and metadata. */
#include <string.h>

#include "memory_store.h"

/* ---- points */

size_t pra__mem_point_at(const mem_series *series, int64_t timestamp_ms)
{
    size_t low = 0, high = series->point_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (series->timestamps_ms[mid] < timestamp_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void pra__mem_histogram_free(mem_store *store, mem_histogram *histogram)
{
    if (histogram)
        pra__free(&store->alloc, histogram, sizeof *histogram + histogram->len);
}

int pra__mem_reserve(mem_store *store, mem_series *series, size_t extra, bool histograms)
{
    const pra_alloc *alloc = &store->alloc;
    size_t need = series->point_count + extra;
    int code = pra__store_grow(alloc, (void **)&series->timestamps_ms, &series->timestamp_cap, need,
                               sizeof *series->timestamps_ms);
    if (code == PRA_OK)
        code = pra__store_grow(alloc, (void **)&series->values, &series->value_cap, need,
                               sizeof *series->values);
    bool first = histograms && !series->histograms;
    if (code == PRA_OK && (first || series->histograms))
        code = pra__store_grow(alloc, (void **)&series->histograms, &series->histogram_cap, need,
                               sizeof(mem_histogram *));
    if (code == PRA_OK && first)
        memset(series->histograms, 0, series->point_count * sizeof(mem_histogram *));
    return code;
}

/* Moves points [from, point_count) to start at to. */
static void move_points(mem_series *series, size_t to, size_t from)
{
    size_t count = series->point_count - from;
    memmove(series->timestamps_ms + to, series->timestamps_ms + from,
            count * sizeof *series->timestamps_ms);
    memmove(series->values + to, series->values + from, count * sizeof *series->values);
    if (series->histograms)
        memmove(series->histograms + to, series->histograms + from,
                count * sizeof(mem_histogram *));
}

void pra__mem_open_gap(mem_series *series, size_t at, size_t count)
{
    move_points(series, at + count, at);
}

/* Frees the histograms of the first count points and takes all of these out of the totals. Returns
 * the number of histograms. */
static size_t let_go(mem_store *store, mem_series *series, size_t count)
{
    size_t histograms = 0;
    for (size_t i = 0; series->histograms && i < count; i++) {
        histograms += series->histograms[i] != NULL;
        pra__mem_histogram_free(store, series->histograms[i]);
    }
    atomic_fetch_sub(&store->stats[PRA_DATUM_HISTOGRAM].held, histograms);
    atomic_fetch_sub(&store->stats[PRA_DATUM_SAMPLE].held, count - histograms);
    return histograms;
}

void pra__mem_drop_points(mem_store *store, mem_series *series, size_t count)
{
    size_t histograms = let_go(store, series, count);
    atomic_fetch_add(&store->stats[PRA_DATUM_HISTOGRAM].expired, histograms);
    atomic_fetch_add(&store->stats[PRA_DATUM_SAMPLE].expired, count - histograms);
    move_points(series, 0, count);
    series->point_count -= count;
}

/* ---- exemplars */

static size_t exemplar_size(const mem_exemplar *exemplar)
{
    return sizeof *exemplar + exemplar->label_count * sizeof *exemplar->labels +
           exemplar->string_bytes;
}

static void exemplar_free(mem_store *store, mem_exemplar *exemplar)
{
    pra__free(&store->alloc, exemplar, exemplar_size(exemplar));
    atomic_fetch_sub(&store->stats[PRA_DATUM_EXEMPLAR].held, 1);
}

static bool same_exemplar(const mem_exemplar *exemplar, const pra_columns *cols, size_t index)
{
    uint32_t first = cols->exemplar_label_offsets[index];
    return exemplar->timestamp_ms == cols->exemplar_timestamps_ms[index] &&
           pra__double_bits(&exemplar->value) == pra__double_bits(&cols->exemplar_values[index]) &&
           pra__mem_same_labels(exemplar->labels, exemplar->label_count, cols->base,
                                cols->exemplar_labels + first,
                                cols->exemplar_label_offsets[index + 1] - first);
}

static mem_exemplar *exemplar_new(mem_store *store, const pra_columns *cols, size_t index,
                                  uint64_t hash)
{
    uint32_t first = cols->exemplar_label_offsets[index];
    const pra_label_span *labels = cols->exemplar_labels + first;
    size_t count = cols->exemplar_label_offsets[index + 1] - first;
    mem_exemplar head = {.node.hash = hash,
                         .timestamp_ms = cols->exemplar_timestamps_ms[index],
                         .label_count = count,
                         .string_bytes = pra__mem_label_bytes(labels, count)};
    mem_exemplar *exemplar = pra__malloc(&store->alloc, exemplar_size(&head));
    if (!exemplar)
        return NULL;
    *exemplar = head;
    memcpy(&exemplar->value, &cols->exemplar_values[index], sizeof exemplar->value);
    pra__mem_copy_labels(exemplar->labels, cols->base, labels, count);
    atomic_fetch_add(&store->stats[PRA_DATUM_EXEMPLAR].held, 1);
    return exemplar;
}

int pra__mem_exemplar_add(mem_store *store, mem_series *series, const pra_columns *cols,
                          size_t index)
{
    uint32_t first = cols->exemplar_label_offsets[index];
    uint64_t hash = pra_labels_fingerprint(cols->base, cols->exemplar_labels + first,
                                           cols->exemplar_label_offsets[index + 1] - first);
    hash ^= (uint64_t)cols->exemplar_timestamps_ms[index] * 0x9e3779b97f4a7c15;
    hash ^= pra__double_bits(&cols->exemplar_values[index]) * 0xc2b2ae3d27d4eb4f;
    pra__node *node = pra__table_find(&series->exemplars, hash);
    for (; node; node = pra__table_again(node))
        if (same_exemplar((mem_exemplar *)node, cols, index))
            return 1;
    if (pra__table_reserve(&series->exemplars, &store->alloc) != 0)
        return PRA_ERR_NOMEM;
    mem_exemplar *exemplar = exemplar_new(store, cols, index, hash);
    if (!exemplar)
        return PRA_ERR_NOMEM;
    pra__table_link(&series->exemplars, &exemplar->node);
    return 0;
}

void pra__mem_exemplars_expire(mem_store *store, mem_series *series, int64_t cutoff_ms)
{
    pra__table *table = &series->exemplars;
    if (cutoff_ms == INT64_MIN)
        return;
    for (pra__node *node = pra__table_each(table, NULL), *next; node; node = next) {
        next = pra__table_each(table, node);
        if (((mem_exemplar *)node)->timestamp_ms >= cutoff_ms)
            continue;
        pra__table_unlink(table, node);
        exemplar_free(store, (mem_exemplar *)node);
        atomic_fetch_add(&store->stats[PRA_DATUM_EXEMPLAR].expired, 1);
    }
    if (table->count == 0)
        pra__table_free(table, &store->alloc);
}

void pra__mem_points_free(mem_store *store, mem_series *series)
{
    const pra_alloc *alloc = &store->alloc;
    let_go(store, series, series->point_count);
    pra__free(alloc, series->timestamps_ms, series->timestamp_cap * sizeof *series->timestamps_ms);
    pra__free(alloc, series->values, series->value_cap * sizeof *series->values);
    pra__free(alloc, series->histograms, series->histogram_cap * sizeof(mem_histogram *));
    for (pra__node *node = pra__table_each(&series->exemplars, NULL), *next; node; node = next) {
        next = pra__table_each(&series->exemplars, node);
        exemplar_free(store, (mem_exemplar *)node);
    }
    pra__table_free(&series->exemplars, alloc);
}

/* ---- metadata */

static void metadata_free(mem_store *store, mem_metadata *metadata)
{
    pra__free(&store->alloc, metadata,
              sizeof *metadata + metadata->family.len + metadata->help.len + metadata->unit.len);
    atomic_fetch_sub(&store->metadata_count, 1);
}

static mem_metadata *metadata_new(mem_store *store, int32_t type, pra_str family, pra_str help,
                                  pra_str unit)
{
    mem_metadata *metadata =
        pra__malloc(&store->alloc, sizeof *metadata + family.len + help.len + unit.len);
    if (!metadata)
        return NULL;
    *metadata = (mem_metadata){.node.hash = pra__store_hash(family), .type = type};
    char *at = metadata->text;
    metadata->family = pra__mem_copy_string(&at, family);
    metadata->help = pra__mem_copy_string(&at, help);
    metadata->unit = pra__mem_copy_string(&at, unit);
    atomic_fetch_add(&store->metadata_count, 1);
    return metadata;
}

static mem_metadata *metadata_find(const mem_tenant *tenant, pra_str family)
{
    pra__node *node = pra__table_find(&tenant->metadata, pra__store_hash(family));
    while (node && !pra__str_equal(((mem_metadata *)node)->family, family))
        node = pra__table_again(node);
    return (mem_metadata *)node;
}

int pra__mem_metadata_put(mem_store *store, mem_tenant *tenant, const pra_columns *cols,
                          const pra_metadata *entry)
{
    pra_str family = pra__metadata_family(cols, entry);
    pra_str help = pra__store_span(cols->base, entry->help);
    pra_str unit = pra__store_span(cols->base, entry->unit);
    if (!family.len)
        return PRA_OK;
    mem_metadata *old = metadata_find(tenant, family);
    if (old && old->type == entry->type && pra__str_equal(old->help, help) &&
        pra__str_equal(old->unit, unit))
        return PRA_OK;
    if (pra__table_reserve(&tenant->metadata, &store->alloc) != 0)
        return PRA_ERR_NOMEM;
    mem_metadata *metadata = metadata_new(store, entry->type, family, help, unit);
    if (!metadata)
        return PRA_ERR_NOMEM;
    if (old) {
        pra__table_unlink(&tenant->metadata, &old->node);
        metadata_free(store, old);
    }
    pra__table_link(&tenant->metadata, &metadata->node);
    return PRA_OK;
}

void pra__mem_metadata_free(mem_store *store, mem_tenant *tenant)
{
    for (pra__node *node = pra__table_each(&tenant->metadata, NULL), *next; node; node = next) {
        next = pra__table_each(&tenant->metadata, node);
        metadata_free(store, (mem_metadata *)node);
    }
    pra__table_free(&tenant->metadata, &store->alloc);
}
