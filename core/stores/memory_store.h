/* SPDX-License-Identifier: Apache-2.0 */
/* The memory store's data. Private.
 *
 * A tenant has its series in a hash table by fingerprint, and for every label name and value the
 * series that carry it (a posting list, in order of series id). A series has its samples in two
 * arrays sorted by time, so that a query hands slices of them to the sink. One lock for
 * readers and writers guards everything. */
#ifndef PRA_MEMORY_STORE_H
#define PRA_MEMORY_STORE_H

#include <stdatomic.h>

#include "store_common.h"

typedef struct mem_series {
    pra__node node; /* of mem_tenant.series; first member */
    uint64_t id;
    size_t label_count;
    size_t string_bytes;
    int64_t *timestamps_ms;
    double *values;
    size_t sample_count;
    size_t timestamp_cap;
    size_t value_cap;
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

typedef struct mem_tenant {
    pra__node node;          /* of mem_store.tenants; first member */
    struct mem_tenant *next; /* all tenants, newest first */
    pra__table series;
    pra__table names;
    mem_posting all;
    uint64_t next_id;
    size_t len;
    char text[];
} mem_tenant;

typedef struct mem_store {
    pra_alloc alloc;
    pra_store_opts opts;
    pthread_rwlock_t lock;
    pra__table tenants;
    mem_tenant *first_tenant;
    pra__ticker retention;
    mem_tenant *sweep_tenant; /* where the retention sweep stands */
    uint64_t sweep_id;
    atomic_uint_least64_t series_count;
    atomic_uint_least64_t sample_count;
    atomic_uint_least64_t inserted;
    atomic_uint_least64_t duplicates;
    atomic_uint_least64_t refused;
    atomic_uint_least64_t expired;
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
void pra__mem_free(mem_store *store);

/* memory_write.c */

/** Stores the samples of a request. PRA_ERR_NOMEM: some of them only. The lock is held. */
int pra__mem_write(mem_store *store, mem_tenant *tenant, const pra_columns *cols,
                   pra_write_result *result);

/* memory_read.c */

int pra__mem_query(const mem_tenant *tenant, const pra_query *query, pra_series_sink *sink,
                   pra_error *err);

/* memory.c */

/** Deletes samples older than cutoff_ms in the next max_series series. Returns 1 when the sweep is
 * through (the next call begins anew), else 0. Takes the lock. */
int pra__mem_retention_step(mem_store *store, int64_t cutoff_ms, size_t max_series);
/** First sample at or after the time. */
size_t pra__mem_sample_at(const mem_series *series, int64_t timestamp_ms);

#endif
