/* SPDX-License-Identifier: Apache-2.0 */
/* The memory store's data. Private.
 *
 * A tenant has its series in a hash table by fingerprint, and for every label name and value the
 * series that carry it (a posting list, in order of series id). A series has its points (samples
 * and histograms) in columns sorted by time, so that a query hands slices of them to the sink, and
 * its exemplars in a hash table. One lock for readers and writers guards everything. */
#ifndef PRA_MEMORY_STORE_H
#define PRA_MEMORY_STORE_H

#include <stdatomic.h>

#include "store_common.h"

/* A native histogram as pra_histogram_encode writes it. */
typedef struct mem_histogram {
    size_t len;
    char data[];
} mem_histogram;

typedef struct mem_exemplar {
    pra__node node; /* of mem_series.exemplars; first member */
    int64_t timestamp_ms;
    double value;
    size_t label_count;
    size_t string_bytes;
    pra_label labels[]; /* their strings follow in the same block */
} mem_exemplar;

typedef struct mem_series {
    pra__node node; /* of mem_tenant.series; first member */
    uint64_t id;
    size_t label_count;
    size_t string_bytes;
    int64_t *timestamps_ms;
    double *values;             /* of samples */
    mem_histogram **histograms; /* NULL for samples; the array is NULL if there are only these */
    size_t point_count;
    size_t timestamp_cap;
    size_t value_cap;
    size_t histogram_cap;
    pra__table exemplars;
    pra_label labels[]; /* their strings follow in the same block */
} mem_series;

/* Series in order of id. */
typedef struct mem_posting {
    mem_series **series;
    size_t count;
    size_t cap;
} mem_posting;

typedef struct mem_value {
    pra__node node; /* of mem_name.values; first member */
    mem_posting posting;
    size_t len;
    char text[];
} mem_value;

typedef struct mem_name {
    pra__node node; /* of mem_tenant.names; first member */
    pra__table values;
    size_t len;
    char text[];
} mem_name;

/* What came last about a metric family. */
typedef struct mem_metadata {
    pra__node node; /* of mem_tenant.metadata; first member */
    int32_t type;
    pra_str family; /* their bytes follow in the same block */
    pra_str help;
    pra_str unit;
    char text[];
} mem_metadata;

typedef struct mem_tenant {
    pra__node node;          /* of mem_store.tenants; first member */
    struct mem_tenant *next; /* all tenants, newest first */
    pra__table series;
    pra__table names;
    pra__table metadata;
    mem_posting all;
    uint64_t next_id;
    size_t len;
    char text[];
} mem_tenant;

enum { MEM_KINDS = 3 }; /* PRA_DATUM_SAMPLE, _HISTOGRAM, _EXEMPLAR */

/* Of one kind of data. */
typedef struct mem_stats {
    atomic_uint_least64_t held;
    atomic_uint_least64_t inserted;
    atomic_uint_least64_t duplicates;
    atomic_uint_least64_t refused;
    atomic_uint_least64_t expired;
} mem_stats;

typedef struct mem_store {
    pra_alloc alloc; /* counts in bytes what it takes from parent */
    pra_alloc parent;
    atomic_uint_least64_t bytes;
    pra_store_opts opts;
    pthread_rwlock_t lock;
    pra__table tenants;
    mem_tenant *first_tenant;
    pra__ticker retention;
    mem_tenant *sweep_tenant; /* where the retention sweep stands */
    uint64_t sweep_id;
    pra_buffer *scratch; /* the writer's */
    atomic_uint_least64_t series_count;
    atomic_uint_least64_t metadata_count;
    mem_stats stats[MEM_KINDS];
} mem_store;

/* memory_index.c: all with the lock held by the caller, for writing where they change anything */

mem_tenant *pra__mem_tenant(mem_store *store, pra_str name);
mem_tenant *pra__mem_tenant_add(mem_store *store, pra_str name);
/** Finds or adds a series; NULL: out of memory, and nothing is changed that a reader could see. */
mem_series *pra__mem_series(mem_store *store, mem_tenant *tenant, const char *base,
                            const pra_label_span *labels, size_t count);
/** Takes a series out of all indexes and frees it. */
void pra__mem_series_remove(mem_store *store, mem_tenant *tenant, mem_series *series);
mem_name *pra__mem_name(const mem_tenant *tenant, pra_str name);
mem_value *pra__mem_value(const mem_name *name, pra_str value);
/** Position of the first series whose id is at least id. */
size_t pra__mem_posting_at(const mem_posting *posting, uint64_t id);
bool pra__mem_same_labels(const pra_label *held, size_t held_count, const char *base,
                          const pra_label_span *labels, size_t count);
size_t pra__mem_label_bytes(const pra_label_span *labels, size_t count);
/** To *at, which moves on. */
pra_str pra__mem_copy_string(char **at, pra_str s);
/** The strings go behind out[count - 1]. */
void pra__mem_copy_labels(pra_label *out, const char *base, const pra_label_span *labels,
                          size_t count);
void pra__mem_free(mem_store *store);

/* memory_points.c: likewise */

/** First point at or after the time. */
size_t pra__mem_point_at(const mem_series *series, int64_t timestamp_ms);
/** The histogram at a point, or NULL for a sample. */
static inline mem_histogram *pra__mem_histogram(const mem_series *series, size_t at)
{
    return series->histograms ? series->histograms[at] : NULL;
}
void pra__mem_histogram_free(mem_store *store, mem_histogram *histogram);
/** Room for extra points, histograms among them or not. Returns 0 or PRA_ERR_NOMEM. */
int pra__mem_reserve(mem_store *store, mem_series *series, size_t extra, bool histograms);
/** Makes a gap of count points at a position; there is room. */
void pra__mem_open_gap(mem_series *series, size_t at, size_t count);
/** Deletes the first count points. */
void pra__mem_drop_points(mem_store *store, mem_series *series, size_t count);
/** Returns 1 if the exemplar was there already, 0, or PRA_ERR_NOMEM. */
int pra__mem_exemplar_add(mem_store *store, mem_series *series, const pra_columns *cols,
                          size_t index);
/** Deletes the exemplars older than cutoff_ms. */
void pra__mem_exemplars_expire(mem_store *store, mem_series *series, int64_t cutoff_ms);
/** Frees all data of a series that is about to go. */
void pra__mem_points_free(mem_store *store, mem_series *series);
/** Replaces what is known of the family. Returns 0 or PRA_ERR_NOMEM. */
int pra__mem_metadata_put(mem_store *store, mem_tenant *tenant, const pra_columns *cols,
                          const pra_metadata *entry);
void pra__mem_metadata_free(mem_store *store, mem_tenant *tenant);

/* memory_write.c */

/** Stores a request. PRA_ERR_NOMEM: a part of it only. The lock is held. */
int pra__mem_write(mem_store *store, mem_tenant *tenant, const pra_columns *cols,
                   pra_write_result *result);

/* memory_read.c */

int pra__mem_select(const mem_tenant *tenant, const pra_query *query, pra_series_list *list,
                    pra_error *err);
int pra__mem_fetch(const mem_store *store, const mem_tenant *tenant, const pra_query *query,
                   uint64_t id, int64_t from_ms, pra_series_sink *sink, pra_error *err);

/* memory.c */

/** Deletes what is too old in the next max_series series. Returns 1 when the sweep is through (the
 * next call begins anew), else 0. Takes the lock. */
int pra__mem_retention_step(mem_store *store, pra__cutoffs cutoffs, size_t max_series);

#endif
